/**
 * Before anything else: is each door that a run needs there, and is it the right one? A run against nothing, or against somebody else,
 * would be ten thousand times the same error. Not whether anybody is admitted: that is what the run is for.
 */

import { FleetError } from '#fleet/errors.ts'
import type { KeyAgreement } from '#wire/scenario.ts'
import { clientContext, openConnection, type ConnectOptions } from '../client/connection.ts'
import type { Identity } from '../client/identity.ts'
import { whyNotFor } from '../client/server-certificate.ts'

export type Doorway = {
  /** how people call it: `the HTTPS door` */
  readonly name: string
  readonly url: string
  /** the option that names another one */
  readonly option: string
}

type Trouble = {
  readonly codes: readonly string[]
  readonly say: (door: Doorway, error: NodeJS.ErrnoException) => string
}

const hostOf = ({ url }: Doorway): string => new URL(url).hostname.replace(/^\[|\]$/g, '')

/** By the code of Node or of OpenSSL; the first that has it. */
const TROUBLES: readonly Trouble[] = [
  {
    codes: ['ECONNREFUSED'],
    say: ({ option }) =>
      `nobody listens there (connection refused). Is it running? \`npm start\` starts everything on this machine; ${option} names another place`,
  },
  {
    codes: ['ENOTFOUND', 'EAI_AGAIN'],
    say: (door) => `the name ${hostOf(door)} is not known; ${door.option} names another place`,
  },
  {
    codes: ['EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EHOSTDOWN'],
    say: ({ option }) => `there is no way to it from here; ${option} names another place`,
  },
  {
    codes: [
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'CERT_SIGNATURE_FAILURE',
      'INVALID_CA',
    ],
    say: () =>
      'the wrong CA: its certificate is not under the root that is trusted here, so it is not the server that was meant; --ca gives another root',
  },
  {
    codes: ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'],
    say: (_, { code }) =>
      `its certificate ${code === 'CERT_HAS_EXPIRED' ? 'has expired' : 'is not valid yet'} by the clock of this machine`,
  },
  {
    codes: ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'],
    say: ({ option }) => `what answers there does not speak TLS; ${option} names another port`,
  },
]

const causeOf = (error: unknown): NodeJS.ErrnoException =>
  (error instanceof Error && error.cause instanceof Error ? error.cause : error) as NodeJS.ErrnoException

/** Of Node or of OpenSSL; undefined: our own client's verdict */
const codeOf = (error: unknown): string | undefined => {
  const cause = causeOf(error)
  return cause instanceof FleetError ? undefined : cause.code
}

/** Names it in a sentence that says what to do. `error`: of openConnection. */
export const sentenceFor = (door: Doorway, error: unknown): string => {
  const cause = causeOf(error)
  const code = codeOf(error)
  const trouble = TROUBLES.find(({ codes }) => code !== undefined && codes.includes(code))
  const plain = error instanceof FleetError ? error.detail : String(error)
  const why = trouble?.say(door, cause) ?? plain
  return `${door.name}, ${door.url}: ${why.replace(`${door.url}: `, '')}`
}

/** For whom it is instead, as long as its chain is good. @returns undefined: it is for this host, or is not to be had */
const otherNames = async (door: Doorway, o: Knocking): Promise<string | undefined> => {
  const { socket } = await openConnection({ ...asking(door, o), verify: false })
  const certificate = socket.getPeerX509Certificate()
  socket.destroy()
  if (whyNotFor(hostOf(door), certificate) === undefined) return undefined
  return certificate?.subjectAltName?.replaceAll(/\b(?:DNS|IP Address):/g, '').slice(0, 300) ?? 'nobody'
}

/** ms; a healthy door takes a few */
const PATIENCE = 5_000

type Knocking = {
  readonly rootPem: string | undefined
  /** of anybody, where a door wants to see one before it says anything */
  readonly identity?: Identity | undefined
  /** as the devices come */
  readonly keyAgreement?: KeyAgreement | undefined
  readonly signal: AbortSignal
}

const asking = (door: Doorway, o: Knocking): ConnectOptions => ({
  url: new URL(door.url),
  context: clientContext(o),
  ...(door.url.startsWith('https:') ? { alpn: ['http/1.1'] } : {}),
  timeout: PATIENCE,
  signal: o.signal,
})

/** @returns undefined, or what is wrong with it */
const knock = async (door: Doorway, o: Knocking): Promise<string | undefined> => {
  try {
    const { socket } = await openConnection({ ...asking(door, o), verify: o.rootPem !== undefined })
    socket.destroy()
    return undefined
  } catch (error) {
    const sentence = sentenceFor(door, error)
    if (codeOf(error) !== undefined) return sentence
    const names = await otherNames(door, o).catch(() => undefined)
    if (names === undefined) return sentence
    return `${door.name}, ${door.url}: its certificate is not for ${hostOf(door)} but for ${names}; say one of its names with ${door.option}`
  }
}

/**
 * All at once; what is wrong with each is said.
 * @param o.rootPem undefined: only that somebody speaks TLS there
 * @throws `target_unreachable`
 */
export const preflight = async (doors: readonly Doorway[], o: Knocking): Promise<void> => {
  const said = await Promise.all(doors.map((door) => knock(door, o)))
  const wrong = said.filter((sentence) => sentence !== undefined)
  if (wrong.length > 0) throw new FleetError('target_unreachable', wrong.join('\n'))
}
