/**
 * What the attacks on the HTTPS door share: saying bytes and collecting every answer, hostnames and applications of one's own, tokens made by hand.
 * Not a judge: what is right stands in the tests.
 */

import { createPrivateKey, createSign, sign, type KeyObject } from 'node:crypto'
import { vi } from 'vitest'
import type { Application, HttpsAccess, Policy } from '#fleet/access.ts'
import { assertionKeyAad, open as unseal } from '#runtime/sealing.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import type { DoorHarness } from '../../../support/https-door.ts'
import type { RawClient } from '../../../support/raw-https.ts'
import { freshHex } from '../../../support/registry.ts'
import { speak, type Heard, type SpeakOptions, type Who } from '../attacker.ts'

export type Say = SpeakOptions & { readonly host?: string }

/** These bytes on a connection of their own to `host` (SNI), everything that came. */
export const say = (door: DoorHarness, bytes: string | Uint8Array, o: Say = {}): Promise<Heard> =>
  speak(door.url, typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, {
    serverName: o.host ?? 'a.test',
    ...o,
  })

export type Get = Say & {
  readonly method?: string
  readonly headers?: readonly string[]
  readonly body?: string
  /** default true */
  readonly close?: boolean
}

/** One well-formed request, as text. */
export const textOf = (target: string, o: Get = {}): string =>
  `${[
    `${o.method ?? 'GET'} ${target} HTTP/1.1`,
    `Host: ${o.host ?? 'a.test'}`,
    ...(o.body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(o.body, 'latin1')}`]),
    ...(o.close === false ? [] : ['Connection: close']),
    ...(o.headers ?? []),
  ].join('\r\n')}\r\n\r\n${o.body ?? ''}`

/** Header lines of a WebSocket's handshake; byte-origin.ts has the answer to them. */
export const UPGRADE: readonly string[] = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
]

/** @returns its answer; a session stays open only where `close` is false */
export const get = (door: DoorHarness, target: string, o: Get = {}): Promise<Heard> =>
  say(door, textOf(target, o), o)

/** How many final answers are in what came. */
export const answersIn = (raw: string): number => raw.match(/HTTP\/1\.[01] [2-9]\d\d /g)?.length ?? 0

/** The door ends it, and nothing else does: an origin may be silent for much longer. @throws Error: it is still open */
export const endsSoon = async (client: Pick<RawClient, 'closed'>): Promise<void> => {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error('still open')), 5_000)
  await Promise.race([client.closed(), late.promise]).finally(() => clearTimeout(timer))
}

/** All at once, `lanes` at a time: the order in which they end is nobody's. */
export const each = async <T>(
  rows: readonly T[],
  work: (row: T, index: number) => Promise<void>,
  lanes = 12,
): Promise<void> => {
  let next = 0
  const lane = async (): Promise<void> => {
    for (let at = next++; at < rows.length; at = next++) await work(rows[at] as T, at)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

export type Site = Partial<Omit<Application, 'https'>> & {
  readonly name: string
  readonly https?: Partial<HttpsAccess>
}

/** Applications, policies and one more anchor of ours (`sites`) for all their hostnames; back when all of them answer. */
export const openSites = async (
  door: DoorHarness,
  o: {
    readonly sites: readonly Site[]
    readonly policies?: readonly (Partial<Policy> & { readonly name: string })[]
    readonly hostnames: readonly string[]
  },
): Promise<void> => {
  for (const policy of o.policies ?? []) await door.putPolicy(policy)
  await door.putAnchor({ name: 'sites', hostnames: o.hostnames })
  for (const { https, ...site } of o.sites)
    await door.putApplication({
      id: freshHex(32),
      ...site,
      https: { path: '/*', origin: door.origin.url, ...https },
    })
  const probe = await door.device('probe-1')
  for (const host of o.hostnames)
    await vi.waitFor(
      async () => {
        const { status, reason } = await get(door, '/probe', { host, who: probe })
        if (status !== 200 && reason !== 'policy_denied')
          throw new Error(`${host} is not there yet: ${status} ${reason}`)
      },
      { timeout: 5_000, interval: 20 },
    )
  await door.setState('probe-1', 'retired')
  door.origin.seen.length = 0
}

// ---- tokens

export type Jwt = {
  readonly header: Record<string, unknown>
  readonly claims: Record<string, unknown>
  readonly signature: string
}

export const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export const readJwt = (token: string): Jwt => {
  const [header = '', claims = '', signature = ''] = token.split('.')
  const read = (text: string): Record<string, unknown> =>
    JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>
  return { header: read(header), claims: read(claims), signature }
}

const raw = { dsaEncoding: 'ieee-p1363' } as const
/** With ES256, RS256 or EdDSA, by what the key is. */
export const signJwt = (header: unknown, claims: unknown, key: KeyObject): string => {
  const text = `${part(header)}.${part(claims)}`
  const made =
    key.asymmetricKeyType === 'ec'
      ? sign('sha256', Buffer.from(text), { key, ...raw })
      : key.asymmetricKeyType === 'rsa'
        ? createSign('sha256').update(text).sign(key)
        : sign(null, Buffer.from(text), key)
  return `${text}.${made.toString('base64url')}`
}

/** The door's own signing key, out of the registry: for tokens whose signature is good and whose claims are not. */
export const stolenSigningKey = async (
  door: DoorHarness,
): Promise<{ readonly kid: string; readonly key: KeyObject }> => {
  const found = (await door.registry.assertionKeys()).at(-1)
  if (found === undefined) throw new Error('no signing key')
  const secret = readSecretKey(door.config.secrets.key_file)
  const der = unseal(secret, found.sealed, assertionKeyAad(found.kid))
  return { kid: found.kid, key: createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' }) }
}

/** The value of Set-Cookie: CF_Authorization, or undefined. */
export const cookieIn = (rawAnswer: string): string | undefined =>
  /^set-cookie: ?CF_Authorization=([^;\r\n]+)/im.exec(rawAnswer)?.[1] || undefined

/** A session at `host`, as it is given to who comes with a certificate. */
export const sessionOf = async (
  door: DoorHarness,
  who: Who,
  host: string,
  target = '/login',
): Promise<string> => {
  const heard = await get(door, target, { host, who })
  const cookie = cookieIn(heard.raw)
  if (heard.status !== 200 || cookie === undefined)
    throw new Error(`no session at ${host}: ${heard.raw.slice(0, 500)}`)
  return cookie
}
