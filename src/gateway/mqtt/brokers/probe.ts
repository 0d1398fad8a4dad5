/**
 * One health check: does an address of a broker answer a CONNECT? A proxy before brokers that are all down accepts connections too, so
 * no less will do. Any answer is good but "server unavailable": whether it would let us in is the broker's own business.
 */

import { generate } from 'mqtt-packet'
import type { Login } from '../upstream.ts'
import { dial, type Failure, type Target } from './dial.ts'
import { SocketLink, type LinkOwner } from './socket-link.ts'

/** MQTT 3.1.1 §3.2: the type, a length of 2, and the return code at 3. */
const CONNACK = [0x20, 0x02] as const
const CONNACK_LENGTH = 4
const UNAVAILABLE = 3
const DISCONNECT = Buffer.of(0xe0, 0x00)

const nobody: LinkOwner = { cancelled: () => {}, heard: () => {}, closed: () => {} }

/** MQTT 3.1.1, which every broker speaks; a clean session, so that nothing stays. @param clientId of no device */
const connectPacket = (clientId: string, { username, password }: Login): Buffer =>
  generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId,
    keepalive: 60,
    username,
    ...(password === undefined ? {} : { password: Buffer.from(password) }),
  })

/** @param o.timeout ms for all of it. @returns never rejects. `code`: of its CONNACK, when there was one */
export const probe = (o: {
  readonly target: Target
  readonly timeout: number
  readonly header: Uint8Array | undefined
  readonly clientId: string
  readonly login: Login
}): Promise<{ readonly failure: Failure | undefined; readonly code?: number; readonly error?: unknown }> =>
  new Promise((resolve) => {
    dial(o, (dialled) => {
      if (!('socket' in dialled)) return resolve(dialled)
      let answer = Buffer.alloc(0)
      const link = new SocketLink(
        {
          data: (bytes) => {
            answer = Buffer.concat([answer, bytes])
            if (answer.length < CONNACK_LENGTH) return
            clearTimeout(late)
            const isConnack = CONNACK.every((byte, at) => answer[at] === byte)
            const code = answer[CONNACK_LENGTH - 1] as number
            if (isConnack && code === 0) link.write(DISCONNECT)
            link.end('finish')
            if (isConnack) resolve({ failure: code === UNAVAILABLE ? 'unavailable' : undefined, code })
            else resolve({ failure: 'silent' })
          },
          drain: () => {},
          closed: () => {
            clearTimeout(late)
            resolve({ failure: 'silent' })
          },
        },
        nobody,
      )
      const late = setTimeout(() => {
        resolve({ failure: 'timeout' })
        link.destroy()
      }, o.timeout)
      link.attach(dialled.socket, nobody, dialled.header)
      link.write(connectPacket(o.clientId, o.login))
    })
  })
