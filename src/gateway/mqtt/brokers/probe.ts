/**
 * One health check: does an address of a broker answer a CONNECT? A proxy before brokers that are all down accepts connections too, so
 * no less will do. Any answer is good but "server unavailable": whether it would let us in is the broker's own business.
 */

import { CONNACK } from '#wire/mqtt-codes.ts'
import { makeConnect } from '../connect-packet.ts'
import { DISCONNECT, TYPE } from '../packets.ts'
import type { Login } from '../upstream.ts'
import { dial, type Failure, type Target } from './dial.ts'
import { SocketLink, type LinkOwner } from './socket-link.ts'

/** MQTT 3.1.1 §3.2: the type, a length of 2, and the return code at 3. */
const ANSWER = [TYPE.connack << 4, 2] as const
const ANSWER_LENGTH = 4

const nobody: LinkOwner = { cancelled: () => {}, heard: () => {}, closed: () => {} }

/** MQTT 3.1.1, which every broker speaks; a clean session, so that nothing stays. @param clientId of no device */
const connectPacket = (clientId: string, login: Login): Buffer =>
  makeConnect({ level: 4, clean: true, keepalive: 60, will: undefined }, { clientId, ...login })

type Found = { readonly failure: Failure | undefined; readonly code?: number; readonly error?: unknown }

/** @param o.timeout ms for all of it. @returns never rejects. `code`: of its CONNACK, when there was one */
export const probe = (o: {
  readonly target: Target
  readonly timeout: number
  readonly header: Uint8Array | undefined
  readonly clientId: string
  readonly login: Login
}): Promise<Found> =>
  new Promise((resolve) => {
    let link: SocketLink | undefined
    const late = setTimeout(() => {
      resolve({ failure: 'timeout' })
      dialling.cancel()
      link?.destroy()
    }, o.timeout)
    const finish = (found: Found): void => {
      clearTimeout(late)
      resolve(found)
    }
    const dialling = dial(o, (dialled) => {
      if (!('socket' in dialled)) return finish(dialled)
      let answer = Buffer.alloc(0)
      const opened = new SocketLink(
        {
          data: (bytes) => {
            answer = Buffer.concat([answer, bytes])
            if (answer.length < ANSWER_LENGTH) return
            const isConnack = ANSWER.every((byte, at) => answer[at] === byte)
            const code = answer[ANSWER_LENGTH - 1] as number
            if (isConnack && code === CONNACK.accepted) opened.write(DISCONNECT)
            opened.end('finish')
            if (isConnack)
              finish({ failure: code === CONNACK.serverUnavailable ? 'unavailable' : undefined, code })
            else finish({ failure: 'silent' })
          },
          drain: () => {},
          closed: () => finish({ failure: 'silent' }),
        },
        nobody,
      )
      link = opened
      opened.attach(dialled.socket, nobody, dialled.header)
      opened.write(connectPacket(o.clientId, o.login))
    })
  })
