/** Told the steps of floor.ts, it makes them some hundred times and says what one round of them took. A process, so that it stands on a core. */

import { diffieHellman, generateKeyPairSync, sign, verify } from 'node:crypto'
import type { Steps } from './floor.ts'

/** CPU µs */
export type Floor = { readonly micros: number }

const TIMES = 400
/** until V8 has compiled the little that is ours */
const WARM = 100
/** about what a CertificateVerify signs */
const MESSAGE = Buffer.alloc(130, 1)

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const signature = sign('sha256', MESSAGE, privateKey)
const theirs = generateKeyPairSync('x25519').publicKey

const make = ({ signs, verifies, agreements, keys = 0 }: Steps, times: number): void => {
  for (let n = 0; n < times; n += 1) {
    for (let at = 0; at < keys; at += 1) generateKeyPairSync('ec', { namedCurve: 'P-256' })
    for (let at = 0; at < signs; at += 1) sign('sha256', MESSAGE, privateKey)
    for (let at = 0; at < verifies; at += 1) verify('sha256', MESSAGE, publicKey, signature)
    for (let at = 0; at < agreements; at += 1)
      diffieHellman({ privateKey: generateKeyPairSync('x25519').privateKey, publicKey: theirs })
  }
}

process.on('message', (steps: Steps) => {
  make(steps, WARM)
  const before = process.cpuUsage()
  make(steps, TIMES)
  const { user, system } = process.cpuUsage(before)
  const floor: Floor = { micros: (user + system) / TIMES }
  process.send?.(floor)
})
process.on('disconnect', () => process.exit())
