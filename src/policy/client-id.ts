/**
 * Which ClientID an identity has at the broker, of the one that it asked for: never one that another identity could have. Pure. Not how many of
 * them may be connected, which the door counts; not which MQTT versions may leave it empty, which CONNECT decides (#gateway/mqtt/greeting.ts).
 */

import { createHash } from 'node:crypto'
import type { ClientIdRule } from '#fleet/access.ts'
import { isDeviceId } from '#fleet/device-id.ts'

/**
 * `id`: at the broker. `assigned`: the client left the choice to the server [MQTT-3.1.3-6], so MQTT 5 tells it.
 * `mismatch`: it is not its to have.
 */
export type ClientId =
  { readonly kind: 'ok'; readonly id: string; readonly assigned: boolean } | { readonly kind: 'mismatch' }

const MISMATCH: ClientId = { kind: 'mismatch' }

/** Behind the `@`, which no device id holds; without `/`, which every foreign name holds: so no two identities meet. */
const SUFFIX = /^[A-Za-z0-9._~:-]{1,64}$/

const isOwn = (name: string, asked: string): boolean =>
  asked.startsWith(`${name}@`) && SUFFIX.test(asked.slice(name.length + 1))

/** 132 bits: as short as it may be where no two may meet by chance. */
const digest = (asked: string): string => createHash('sha256').update(asked).digest('base64url').slice(0, 22)

const withSuffix = (name: string, asked: string): string =>
  isOwn(name, asked) ? asked : `${name}@${SUFFIX.test(asked) ? asked : digest(asked)}`

type Choice = (name: string, asked: string, connections: number) => string | undefined

/** Of what is neither empty nor the name. Suffixes are for devices: what a foreign certificate calls itself may hold anything. */
const CHOICES: Readonly<Record<ClientIdRule, Choice>> = {
  equal: () => undefined,
  prefix: (name, asked) => (isDeviceId(name) && isOwn(name, asked) ? asked : undefined),
  forced: (name, asked, connections) =>
    connections === 1 || !isDeviceId(name) ? name : withSuffix(name, asked),
}

/**
 * @param connections how many an identity may have at a time: with one of them, `forced` knows one ClientID
 * @param name of the identity, as nameOf writes it
 * @param asked in CONNECT; empty: whichever the server likes
 */
export const clientIdFor = (
  rule: ClientIdRule,
  connections: number,
  name: string,
  asked: string,
): ClientId => {
  const id = asked === '' || asked === name ? name : CHOICES[rule](name, asked, connections)
  return id === undefined ? MISMATCH : { kind: 'ok', id, assigned: asked === '' }
}
