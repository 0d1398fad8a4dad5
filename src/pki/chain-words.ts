/** A CA as sentences for people: who signs, who signed that, who is on the way in and out. Not the states: they are told to it. */

import type { CertificateFacts, IssuerState } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import { judgeClientCa } from './client-ca.ts'

/** What is known of an issuer. undefined: not asked, or not told. */
export type IssuerInWords = {
  readonly facts: CertificateFacts
  /** CAs between it and the root, the lowest first. undefined: their certificates are not at hand */
  readonly between: readonly CertificateFacts[] | undefined
  readonly state: IssuerState
  readonly offeredAt: number | undefined
  /** certificates of it that could still be used */
  readonly live: number | undefined
  readonly keyHere: boolean | undefined
}

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

const days = (ms: number): string => {
  const count = Math.floor(Math.abs(ms) / DAY)
  return `${count} day${count === 1 ? '' : 's'}`
}

const named = ({ commonName, fingerprint }: CertificateFacts): string =>
  `"${commonName ?? fingerprint.slice(0, 16)}"`

/** `until 2031-11-24, 1825 days` */
const until = ({ notAfter }: CertificateFacts, now: number): string =>
  notAfter < now ? `expired on ${day(notAfter)}` : `until ${day(notAfter)}, ${days(notAfter - now)}`

/** `"Acme Devices" (until …), which was signed by "Acme Policy" (until …), which was signed by the root "Acme Root" (until …)` */
const upToRoot = ({ facts, between }: IssuerInWords, root: CertificateFacts, now: number): string => {
  const link = between === undefined ? 'which stands under' : 'which was signed by'
  const ours = [facts, ...(between ?? [])].map((ca) => `${named(ca)} (${until(ca, now)})`)
  return `${ours.join(', which was signed by ')}, ${link} the root ${named(root)} (${until(root, now)})`
}

const certificates = (count: number): string => `${count} certificate${count === 1 ? '' : 's'} in use`

/** Why no desk opens it, as far as its certificates say. undefined: nothing is known */
export const refusalOf = (
  { facts, between, state }: Pick<IssuerInWords, 'facts' | 'between' | 'state'>,
  root: CertificateFacts,
): string | undefined => {
  if (state === 'retired' || state === 'revoked') return undefined
  const [problem] = [facts, ...(between ?? []), root].flatMap((ca) => {
    const unfit = judgeClientCa(ca)
    return unfit === undefined ? [] : [`${named(ca)} ${unfit}`]
  })
  return problem
}

const KEY_AWAY = '; its key is not here'

/** What each state means for whoever reads it. `active`: the one that signs has its own sentence. */
const SENTENCES: Readonly<Record<IssuerState, (issuer: IssuerInWords, now: number) => string>> = {
  prepared: ({ facts }) => `${named(facts)} is prepared: nobody has been told of it yet.`,
  offered: ({ facts, offeredAt }, now) =>
    offeredAt === undefined
      ? `${named(facts)} is being offered, and signs nothing yet.`
      : `${named(facts)} is being offered since ${day(offeredAt)} (${days(now - offeredAt)}), and signs nothing yet.`,
  active: ({ facts, live }) =>
    `${named(facts)} is active on record too${live === undefined ? '' : `, with ${certificates(live)}`}.`,
  retiring: ({ facts, live }, now) =>
    `${named(facts)} is retiring (${until(facts, now)})${live === undefined ? '' : `, with ${certificates(live)}`}.`,
  retired: ({ facts }) => `${named(facts)} is retired: its certificates are not admitted.`,
  revoked: ({ facts }) => `${named(facts)} is revoked: its certificates are not admitted.`,
}

const ORDER: readonly IssuerState[] = ['active', 'offered', 'prepared', 'retiring', 'revoked', 'retired']

/**
 * @param o.signing subject key id of the one that signs; undefined: none does
 * @returns sentences, the most important first
 */
export const chainInWords = (o: {
  readonly root: CertificateFacts
  readonly issuers: readonly IssuerInWords[]
  readonly signing: string | undefined
  readonly now: number
}): readonly string[] => {
  const { root, issuers, now } = o
  const signing = issuers.find(({ facts }) => facts.subjectKeyId === o.signing && o.signing !== undefined)
  const first =
    signing === undefined
      ? `Nobody signs certificates: no issuer under the root ${named(root)} (${until(root, now)}) is active and has its key here.`
      : `Certificates are signed by ${upToRoot(signing, root, now)}.`
  const others = issuers.filter((issuer) => issuer !== signing)
  const sentences = ORDER.flatMap((state) => others.filter((issuer) => issuer.state === state)).map(
    (issuer) => {
      const refused = refusalOf(issuer, root)
      if (refused !== undefined) return `The desk does not take ${named(issuer.facts)}: ${refused}.`
      const sentence = SENTENCES[issuer.state](issuer, now)
      const needed = issuer.state === 'active' || issuer.state === 'offered' || issuer.state === 'prepared'
      return needed && issuer.keyHere === false ? sentence.replace(/\.$/, `${KEY_AWAY}.`) : sentence
    },
  )
  return [first, ...sentences]
}
