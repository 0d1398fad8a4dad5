import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { acceptsKey, asksForWebSocket, webSocketKey } from '#gateway/https/websocket.ts'

const request = (headers: Record<string, string>, over: Partial<IncomingMessage> = {}): IncomingMessage =>
  ({ method: 'GET', httpVersion: '1.1', headers, ...over }) as IncomingMessage

describe('asks for a WebSocket', () => {
  test.each<[string, IncomingMessage, boolean]>([
    ['plainly', request({ upgrade: 'websocket' }), true],
    ['in capitals', request({ upgrade: 'WebSocket' }), true],
    ['with a length of nothing', request({ upgrade: 'websocket', 'content-length': '0' }), true],
    ['not at all', request({}), false],
    ['for something else', request({ upgrade: 'h2c' }), false],
    ['for one of two', request({ upgrade: 'websocket, h2c' }), false],
    ['with a body', request({ upgrade: 'websocket', 'content-length': '5' }), false],
    ['with chunks', request({ upgrade: 'websocket', 'transfer-encoding': 'chunked' }), false],
    ['by POST', request({ upgrade: 'websocket' }, { method: 'POST' }), false],
    ['in HTTP/1.0', request({ upgrade: 'websocket' }, { httpVersion: '1.0' }), false],
  ])('%s', (_, asked, does) => {
    expect(asksForWebSocket(asked)).toBe(does)
  })
})

test.each<[string | undefined, boolean]>([
  ['dGhlIHNhbXBsZSBub25jZQ==', true],
  [undefined, false],
  ['', false],
  ['dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==', false],
  ['dGhlIHNhbXBsZSBub25jZQ', false],
  ['dGhlIHNhbXBsZSBub25jZQ=', false],
])('key %s', (key, good) => {
  const headers: Record<string, string> = key === undefined ? {} : { 'sec-websocket-key': key }
  expect(webSocketKey(request(headers)) !== undefined).toBe(good)
})

// RFC 6455 §1.3
test.each<[string | string[] | undefined, boolean]>([
  ['s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', true],
  ['s3pPLMBiTxaQ9kYGzzhZRbK+xOp=', false],
  [['s3pPLMBiTxaQ9kYGzzhZRbK+xOo=', 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='], false],
  ['', false],
  [undefined, false],
])('accepted by %s', (accept, does) => {
  expect(acceptsKey(accept, 'dGhlIHNhbXBsZSBub25jZQ==')).toBe(does)
})
