/** What a drill may ask of an operator, over the public operator API: a token, a look at a device, a revocation. Not a client of all of it: that is the CLI's. */

import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import type { Device, TokenCreate, TokenCreated } from '#wire/rest.ts'
import { clientContext } from './connection.ts'
import { refusalOf } from './enroll-device.ts'
import { exchange, httpsOnce, type Answer } from './https-once.ts'

export type Operator = {
  createToken(body: TokenCreate): Promise<TokenCreated>
  /** returns once the operator API has said that it is done */
  revoke(deviceId: string): Promise<void>
  device(deviceId: string): Promise<Device>
}

/** @param o.url plain http only on loopback, which the listener itself enforces. @throws the server's reason; `target_unreachable` */
export const createOperator = (o: {
  readonly url: string
  readonly token: string
  readonly rootPem: string
  readonly signal?: AbortSignal | undefined
}): Operator => {
  const call = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> => {
    const url = new URL(path, o.url)
    const request = {
      method,
      headers: {
        authorization: `Bearer ${o.token}`,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'idempotency-key': randomUUID() }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: o.signal,
    }
    const answer =
      url.protocol === 'https:'
        ? await httpsOnce({ ...request, url: url.href, context: clientContext({ rootPem: o.rootPem }) })
        : await exchange(connect(Number(url.port || '80'), url.hostname), url, request)
    if (answer.status >= 400) throw refusalOf(answer)
    return answer
  }
  const pathOf = (deviceId: string): string => `/v1/devices/${encodeURIComponent(deviceId)}`
  return {
    async createToken(body) {
      const answer = await call('POST', '/v1/tokens', body)
      return JSON.parse(answer.body.toString()) as TokenCreated
    },
    async revoke(deviceId) {
      await call('POST', `${pathOf(deviceId)}/revoke`, { reason: 'keyCompromise' })
    },
    async device(deviceId) {
      return JSON.parse((await call('GET', pathOf(deviceId))).body.toString()) as Device
    },
  }
}
