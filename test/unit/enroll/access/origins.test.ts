import { describe, expect, it } from 'vitest'
import { readOrigins, readPageOrigins } from '#enroll/access/origins.ts'
import { refusal } from './refusal.ts'

describe('where requests go', () => {
  it.each([
    ['http://127.0.0.1:3000', 'http://127.0.0.1:3000', false],
    ['http://127.0.0.1:3000/', 'http://127.0.0.1:3000', false],
    ['https://origin.example', 'https://origin.example', true],
    ['http://[::1]:80', 'http://[::1]', false],
    ['unix:/run/app.sock', 'unix:/run/app.sock', false],
    ['unix:/run/with a space.sock', 'unix:/run/with a space.sock', false],
    [['http://a:1'], 'http://a:1', false],
    [['http://a:1', 'http://b:1'], ['http://a:1', 'http://b:1'], false],
    [['unix:/a', 'unix:/b'], ['unix:/a', 'unix:/b'], false],
    [['https://a', 'https://b'], ['https://a', 'https://b'], true],
  ])('%j', (given, origin, secure) => {
    expect(readOrigins(given)).toEqual({ origin, secure })
  })

  it.each([
    ['', /http:\/\/host:port, https:\/\/host:port or unix:/],
    ['localhost:3000', /http:\/\/host:port/],
    ['ftp://a', /http:\/\/host:port/],
    ['file:///etc/passwd', /http:\/\/host:port/],
    ['javascript:alert(1)', /http:\/\/host:port/],
    ['http://', /http:\/\/host:port/],
    ['http://a/b', /no path, query or fragment/],
    ['http://a/?x', /no path/],
    ['http://a?', /no path/],
    ['http://a/#x', /no path/],
    ['http://a#', /no path/],
    ['http://u:p@a', /user or password/],
    ['http://u@a', /user or password/],
    ['unix:run/app.sock', /whole path/],
    ['unix://run/app.sock', /whole path/],
    ['unix:', /whole path/],
    ['unix:/a\0b', /control characters/],
    [`unix:/${'a'.repeat(103)}`, /at most 103 octets/],
    [['http://a', 'https://b'], /of one kind.*http:\/\/a and https:\/\/b are not/],
    [['http://a', 'unix:/b'], /of one kind/],
    [['http://a:80', 'http://a/'], /http:\/\/a is there twice/],
  ])('refuses %j', (given, detail) => {
    expect(() => readOrigins(given)).toThrow(refusal(detail))
    expect(() => readOrigins(given)).toThrow(refusal(/^https\.origin: /))
  })
})

describe('whose pages may send them', () => {
  it.each([
    'https://app.example.com',
    'https://app.example.com:8443',
    'http://localhost:5173',
    'http://[::1]:5173',
    'https://xn--bcher-kva.example',
    'capacitor://localhost',
    'chrome-extension://abcdefghijklmnop',
  ])('%s', (origin) => {
    expect(readPageOrigins('https.allowed_origins', [origin])).toEqual([origin])
  })

  it.each([
    ['*', /list each origin/],
    ['https://*.example.com', /list each origin/],
    ['null', /any page can make itself/],
    ['https://App.example.com', /write https:\/\/app\.example\.com, as browsers do/],
    ['https://app.example.com/', /write https:\/\/app\.example\.com,/],
    ['https://app.example.com:443', /write https:\/\/app\.example\.com,/],
    ['https://bücher.example', /write https:\/\/xn--bcher-kva\.example,/],
    ['https://app.example.com/path', /scheme:\/\/host/],
    ['https://app.example.com?x', /scheme:\/\/host/],
    ['https://u@app.example.com', /scheme:\/\/host/],
    ['app.example.com', /scheme:\/\/host/],
    ['capacitor://localhost/x', /scheme:\/\/host/],
    ['data:text/html,x', /scheme:\/\/host/],
    ['', /scheme:\/\/host/],
  ])('refuses %s', (origin, detail) => {
    expect(() => readPageOrigins('https.allowed_origins', [origin])).toThrow(refusal(detail))
    expect(() => readPageOrigins('https.allowed_origins', [origin])).toThrow(
      refusal(/^https\.allowed_origins: /),
    )
  })
})
