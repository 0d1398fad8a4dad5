/**
 * The opening handshake of a WebSocket (RFC 6455 §4), as far as a door has to know it: which request asks for one, and whether an origin's
 * answer is one. Frames are nobody's business here. Not the bytes after it: tunnel.ts.
 */

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** 16 octets in base64 */
const KEY = /^[A-Za-z0-9+/]{22}==$/

/** GET without a body, in HTTP/1.1, and nothing but `websocket`: every other Upgrade is an ordinary request, and refused as one. */
export const asksForWebSocket = ({ method, httpVersion, headers }: IncomingMessage): boolean =>
  method === 'GET' &&
  httpVersion === '1.1' &&
  headers.upgrade?.toLowerCase() === 'websocket' &&
  headers['transfer-encoding'] === undefined &&
  (headers['content-length'] ?? '0') === '0'

/** @returns undefined when there is no key, more than one (Node joins them), or one that is none */
export const webSocketKey = ({ headers }: IncomingMessage): string | undefined => {
  const key = headers['sec-websocket-key']
  return key !== undefined && KEY.test(key) ? key : undefined
}

/** Did whoever answered 101 understand what was asked? Else the bytes that follow may be anything. */
export const acceptsKey = (
  accept: string | readonly string[] | undefined,
  key: string | undefined,
): boolean =>
  key !== undefined &&
  accept ===
    createHash('sha1')
      .update(key + GUID)
      .digest('base64')
