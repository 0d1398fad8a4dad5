/** What `sim run` makes of the text of its options, and how it writes the command that repeats a run. */

import { InvalidArgumentError } from 'commander'
import { expect, test } from 'vitest'
import { listenAt, rate, requestPath, seed, span, target, topicName } from '#cli/sim/sim-options.ts'
import { repeatCommand } from '#cli/sim/repeat-command.ts'

test.each<[string, (text: string) => unknown, string, unknown]>([
  ['rate', rate, '0.5', 0.5],
  ['rate', rate, '1000000', 1_000_000],
  ['span', span(0, 60_000, '2s'), '0s', 0],
  ['span', span(0, 60_000, '2s'), '1m', 60_000],
  ['seed', seed, 'abc123', 'abc123'],
  ['listen', listenAt, '9464', { host: '127.0.0.1', port: 9_464 }],
  ['listen', listenAt, '0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
  ['listen', listenAt, '[::]:80', { host: '::', port: 80 }],
  ['target', (text) => target(text), 'https://a.test:1', { https: 'https://a.test:1' }],
  ['target', (text) => target(text), 'mqtts://a.test/', { mqtts: 'mqtts://a.test' }],
  [
    'target',
    (text) => target(text, { https: 'x' }),
    'mqtts://[::1]:1',
    { https: 'x', mqtts: 'mqtts://[::1]:1' },
  ],
  ['path', requestPath, '/a/{id}?b=1', '/a/{id}?b=1'],
  ['topic', topicName, 'a/{id}/b', 'a/{id}/b'],
])('%s %#: good', (_, read, text, value) => {
  expect(read(text)).toEqual(value)
})

test.each<[string, (text: string) => unknown, string, RegExp]>([
  ['rate', rate, '0', /more than 0 and at most 1000000/],
  ['rate', rate, '1e9', /turns a second/],
  ['rate', rate, '-1', /turns a second/],
  ['rate', rate, '1000001', /at most 1000000/],
  ['span', span(100, 1_000, '30s'), '1', /such as 30s/],
  ['span', span(100, 1_000, '30s'), '99ms', /such as 30s/],
  ['span', span(100, 1_000, '30s'), '2s', /such as 30s/],
  ['seed', seed, 'A b', /a-z and 0-9/],
  ['listen', listenAt, '70000', /a port, or host:port/],
  ['listen', listenAt, 'host:', /a port/],
  ['target', (text) => target(text), 'http://a.test', /https:\/\/host:port or mqtts/],
  ['target', (text) => target(text), 'mqtts:a', /mqtts/],
  ['target', (text) => target(text), 'https://a.test/path', /--path/],
  ['target', (text) => target(text), 'https://u:p@a.test', /without a path/],
  ['target', (text) => target(text, { https: 'x' }), 'https://b.test', /one https target/],
  ['path', requestPath, 'a', /begins with \//],
  ['path', requestPath, '/a\r\nb', /printable ASCII/],
  ['topic', topicName, 'a/#', /without wildcards/],
  ['topic', topicName, '', /topic/],
])('%s %#: a mistake, and it says what was expected', (_, read, text, says) => {
  expect(() => read(text)).toThrow(says)
  expect(() => read(text)).toThrow(InvalidArgumentError)
})

test.each([
  ['calm', {}, 's1', 'npx sallyport sim run calm --seed s1'],
  ['./my file.yaml', { devices: '5' }, 's1', "npx sallyport sim run './my file.yaml' --devices 5 --seed s1"],
  ['calm', { seed: 'old', rate: '5' }, 'new', 'npx sallyport sim run calm --seed new --rate 5'],
  [
    'calm',
    { assert: ['https.p99<5ms', 'lost==0'], enrollUrl: 'https://a:1' },
    's1',
    "npx sallyport sim run calm --assert 'https.p99<5ms' --assert lost==0 --enroll-url https://a:1 --seed s1",
  ],
  ['calm', { html: 'a.html', out: 'b', prometheus: '1' }, 's1', 'npx sallyport sim run calm --seed s1'],
  ['calm', { token: 'spt1.secret' }, 's1', "npx sallyport sim run calm --token '<claim token>' --seed s1"],
  ['calm', { ca: "it's" }, 's1', String.raw`npx sallyport sim run calm --ca 'it'\''s' --seed s1`],
])('repeat %#', (scenario, given, used, expected) => {
  expect(repeatCommand(scenario, given, used)).toBe(expected)
})

test('repeat: where everything is, when the environment said so', () => {
  expect(repeatCommand('calm', { config: 'a b.yaml', workers: '2' }, 's1', '/home/x y')).toBe(
    "SALLYPORT_HOME='/home/x y' npx sallyport sim run calm --config 'a b.yaml' --workers 2 --seed s1",
  )
})
