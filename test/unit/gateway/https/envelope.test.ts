import { describe, expect, test } from 'vitest'
import { openEnvelope } from '#gateway/https/envelope.ts'

const host = ['Host', 'a.test']
const PORT = [9443, 8443]

describe('Host', () => {
  test.each([
    ['a.test', 'a.test', 'a.test'],
    ['A.Test', 'a.test', 'a.test'],
    ['a.test.', 'a.test', 'a.test'],
    ['a.test:443', 'a.test', 'a.test'],
    ['a.test:9443', 'a.test', 'a.test:9443'],
    ['a.test.:09443', 'a.test', 'a.test:9443'],
    ['localhost:9443', 'localhost', 'localhost:9443'],
    // what is forwarded to it
    ['a.test:8443', 'a.test', 'a.test:8443'],
    ['a.test:00443', 'a.test', 'a.test'],
    ['under_score.test', 'under_score.test', 'under_score.test'],
    ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
    ['[::1]:9443', '[::1]', '[::1]:9443'],
  ])('%s', (field, name, authority) => {
    expect(openEnvelope(['Host', field], '1.1', PORT)).toMatchObject({
      ok: true,
      envelope: { host: name, authority },
    })
  })
  test.each([
    '',
    '.',
    'a..',
    '-a.test',
    'a.test-',
    'a test',
    'a.test:',
    'a.test:x',
    // not the one that is listened on
    'a.test:0',
    'a.test:80',
    'a.test:9444',
    '[::1]:6666',
    'a.test:65536',
    'a.test:123456',
    'x@a.test',
    'a.test/x',
    'a.test?x',
    'a.test#x',
    'a.test,b.test',
    'a%2etest',
    'bücher.test',
    '[::1',
    '[zz]',
    'https://a.test',
    'a'.repeat(300),
  ])('refused: %s', (field) => {
    expect(openEnvelope(['Host', field], '1.1', PORT).ok).toBe(false)
  })
  test.each([
    ['none', []],
    ['two', [...host, ...host]],
    ['two spellings', [...host, 'hOsT', 'b.test']],
  ])('refused: %s', (_, headers) => {
    expect(openEnvelope(headers, '1.1', PORT).ok).toBe(false)
    expect(openEnvelope(headers, '1.0', PORT).ok).toBe(false)
  })
})

describe('framing', () => {
  test.each<[string, string[], string, { hasBody: boolean; length: number | undefined } | undefined]>([
    ['no body', [], '1.1', { hasBody: false, length: undefined }],
    ['a length', ['Content-Length', '5'], '1.1', { hasBody: true, length: 5 }],
    ['nothing, said so', ['Content-Length', '0'], '1.1', { hasBody: false, length: 0 }],
    ['chunks', ['Transfer-Encoding', 'chunked'], '1.1', { hasBody: true, length: undefined }],
    ['Chunks', ['transfer-encoding', ' Chunked '], '1.1', { hasBody: true, length: undefined }],
    ['both', ['Content-Length', '5', 'Transfer-Encoding', 'chunked'], '1.1', undefined],
    ['chunks in 1.0', ['Transfer-Encoding', 'chunked'], '1.0', undefined],
    ['two codings', ['Transfer-Encoding', 'gzip, chunked'], '1.1', undefined],
    ['identity', ['Transfer-Encoding', 'identity'], '1.1', undefined],
    ['two lengths', ['Content-Length', '5', 'content-length', '5'], '1.1', undefined],
    ['a list', ['Content-Length', '5, 5'], '1.1', undefined],
    ['a sign', ['Content-Length', '+5'], '1.1', undefined],
    ['hex', ['Content-Length', '0x5'], '1.1', undefined],
    ['beyond numbers', ['Content-Length', '9'.repeat(20)], '1.1', undefined],
  ])('%s', (_, headers, version, framing) => {
    const opened = openEnvelope([...host, ...headers], version, PORT)
    if (framing === undefined) expect(opened.ok).toBe(false)
    else expect(opened).toMatchObject({ ok: true, envelope: framing })
  })
})

test('versions', () => {
  expect(['1.1', '1.0', '0.9', '2.0', ''].map((version) => openEnvelope(host, version, PORT).ok)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ])
})

test('what Connection names, over several fields', () => {
  const opened = openEnvelope([...host, 'Connection', 'close, X-One', 'CONNECTION', ' x-two ,,'], '1.1', PORT)
  expect(opened.ok && [...opened.envelope.connection].sort()).toEqual(['', 'close', 'x-one', 'x-two'])
})
