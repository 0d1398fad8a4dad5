/** The servers of bench/enroll.ts, on core 0: our desk, and `cfssl serve` with the same intermediate. Each knows what to post to it. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Home } from '../../test/support/enroll-desk.ts'
import { freePort } from '../../test/support/free-port.ts'
import { CHECKOUT, SERVER_CORE, startEnroll } from './desk.ts'
import { startPinned, upOrEnded, type Pinned } from './pinned.ts'
import type { Post } from './posts.ts'

/** One enrolment: PEM, and a claim token of its own. */
export type Enrolment = { readonly csr: string; readonly token: string; readonly deviceId: string }

export type Peer = {
  readonly program: Pinned
  readonly url: string
  readonly expected: string
  post(enrolment: Enrolment): Post
}

export type Desk = AsyncDisposable & {
  readonly program: Pinned
  readonly rest: Peer
  readonly est: Peer
  /** of its metrics listener, by name, summed over labels */
  counter(name: string): Promise<number>
}

/** @param profile a file for a CPU profile (profiled.ts); undefined: none is made */
export const startDesk = async (home: Home, profile?: string): Promise<Desk> => {
  const { program, urls } = await startEnroll({
    path: home.path,
    ...(profile === undefined
      ? {}
      : {
          nodeOptions: [`--import=${join(CHECKOUT, 'bench/support/profiled.ts')}`],
          env: { BENCH_PROFILE: profile },
        }),
  })
  const url = urls['devices'] ?? ''
  return {
    program,
    rest: {
      program,
      url,
      expected: '201',
      post: ({ csr, token, deviceId }) => ({
        path: '/v1/enroll',
        headers: `authorization: Bearer ${token}\r\ncontent-type: application/json\r\n`,
        body: JSON.stringify({ csr, device_id: deviceId }),
      }),
    },
    est: {
      program,
      url,
      expected: '200',
      post: ({ csr, token, deviceId }) => ({
        path: '/.well-known/est/simpleenroll',
        headers: `authorization: Basic ${Buffer.from(`${deviceId}:${token}`).toString('base64')}\r\ncontent-type: application/pkcs10\r\n`,
        body: csr.replace(/-----[^-]+-----|\n/g, ''),
      }),
    },
    counter: async (name) => {
      const text = await (await fetch(new URL('/metrics', urls['metrics']))).text()
      return [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'gm'))].reduce(
        (sum, [, value]) => sum + Number(value),
        0,
      )
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

export const startCfssl = async (home: Home): Promise<Peer> => {
  const config = join(home.path, 'cfssl.json')
  // the extensions of our profile that cfssl can write
  const profile = {
    expiry: '720h',
    usages: ['digital signature', 'client auth'],
    crl_url: 'http://localhost:8081/crl',
  }
  writeFileSync(config, JSON.stringify({ signing: { default: profile } }))
  const port = await freePort()
  const certs = join(home.path, 'certs')
  const command = `cfssl serve -address 127.0.0.1 -port ${port} -loglevel 2`.split(' ')
  const files = ['-config', config, '-ca', join(certs, 'intermediate.pem')]
  const key = ['-ca-key', join(certs, 'private/intermediate.key')]
  const program = startPinned(SERVER_CORE, [...command, ...files, ...key])
  const url = `http://127.0.0.1:${port}`
  await upOrEnded(program, () => fetch(url))
  return {
    program,
    url,
    expected: '200',
    post: ({ csr, deviceId }) => ({
      path: '/api/v1/cfssl/sign',
      headers: 'content-type: application/json\r\n',
      body: JSON.stringify({ certificate_request: csr, hosts: [deviceId] }),
    }),
  }
}
