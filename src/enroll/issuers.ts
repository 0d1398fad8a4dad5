/**
 * The issuers of this desk: the one that signs, and those whose CRLs and OCSP answers it still makes. Each is opened once, by its own
 * opener, so that one may be files here and another a signer. Their states are the registry's (issuer-states.ts), read again at each change
 * of one, so that a rotation needs no restart. Not the rotation: rotate.ts.
 */

import { isOffered, type IssuerRecord } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import { fromPem, toPem } from '#pki/pem.ts'
import { inOrder, readIssuerStates, type IssuerStates, type StatesDeps } from './issuer-states.ts'
import { createSerially } from './serially.ts'

export interface Issuers {
  /** Signs new certificates. @throws `issuer_unusable`: none is active now */
  active(): Issuer
  /** Each whose key can be used from here and that is not retired, the active one first. */
  all(): readonly Issuer[]
  /**
   * Those that are given out: CRL, OCSP answers, certificate. Not one that is only prepared, which nobody has been told of; one that is
   * retired or revoked as long as somebody may hold a certificate of it, and until `letGo`. The active one first.
   */
  published(): readonly Issuer[]
  /** What stands between a certificate of this issuer and the root, PEM; '' of one that was never ours. */
  chainPemOf(ski: string): string
}

/** Where an issuer is, before it is opened. */
export type IssuerPlace = {
  /** for messages */
  readonly name: string
  /** paths; of a signer's issuers, how it calls them */
  readonly certificate: string
  readonly key: string
  /** by `ca.intermediate` */
  readonly configured: boolean
  readonly ski: string
  readonly spkiSha256: string
  /** of the certificate, ms: one that ends later takes the place of one with the same key */
  readonly notAfter: number
}
/** `problems`: what was there and could not be one, in words. `failed`: what is wrong with `ca.intermediate`; not among them. */
export type FoundIssuers = {
  readonly places: readonly IssuerPlace[]
  readonly problems: readonly string[]
  readonly failed?: Error | undefined
}

export interface LiveIssuers extends Issuers, AsyncDisposable {
  /** {@link Issuers.active}, for those who only look. */
  signing(): Issuer | undefined
  /** Everyone on record, oldest first. */
  records(): readonly IssuerRecord[]
  /** DER: what devices and others are given to verify certificates of the fleet with, the signing one first, without the roots. */
  offered(): readonly Uint8Array[]
  /** A version of the chain that {@link LiveIssuers.offered} is at least as new as. */
  chainVersion(): number
  /** Until when at least CRLs and OCSP answers of one that is retired or revoked are needed, ms. undefined: of no such, or never */
  publishedUntil(ski: string): number | undefined
  /** What is configured and does not do what one may expect of it, and what to do; sentences. */
  notices(): readonly string[]
  /**
   * Reads all states again, whatever else is wrong; looks for issuers that have come; and tells. One at a time.
   * @returns what was found and cannot be used, in words. @throws `registry_unavailable`
   */
  refresh(): Promise<readonly string[]>
  /**
   * Those that nobody will ask about any more are published no longer, and their keys given up. It is read again first: the CRL beyond the
   * end of the last certificate may have come late, or not yet. Costs nothing while there is none.
   * @throws `registry_unavailable`: they stay
   */
  letGo(): Promise<void>
  /** `listener` is called after each refresh that may have changed something. */
  onChange(listener: () => void): void
}

const noneActive = (): FleetError =>
  new FleetError('issuer_unusable', 'no issuing CA is active: activate one (sallyport ca rotate activate)')

/** A set that never changes; the first one signs. */
export const createIssuers = (issuers: readonly Issuer[]): Issuers => ({
  active: () => {
    const [first] = issuers
    if (first === undefined) throw noneActive()
    return first
  },
  all: () => issuers,
  published: () => issuers,
  chainPemOf: (wanted) => issuers.find(({ ski }) => ski === wanted)?.chainPem ?? '',
})

const detailOf = (error: Error): string => (error instanceof FleetError ? error.detail : String(error))

const isReady = ({ ready }: Issuer): boolean => ready?.() ?? true

/** What `ca.intermediate` names is not what signs, and the way there. */
const noticeOf = (place: IssuerPlace, { ski, state }: IssuerRecord, signs: boolean): string => {
  const steps = state === 'prepared' ? ['distribute', 'activate'] : ['activate']
  const commands = steps.map((verb) => `sallyport ca rotate ${verb} ${ski}`).join(', then ')
  return `${place.name} is issuer ${ski}, which is ${state} and signs nothing yet: ${commands}${signs ? '' : ' (nobody signs now: --force does not wait)'}`
}

/**
 * @param o.find what could be opened now
 * @param o.open opens one, and puts it on record
 * @throws what `find` and `open` throw of the configured one, or of one that is active, when no other is active and usable
 */
export const openIssuers = async (
  o: StatesDeps & {
    readonly find: () => FoundIssuers | Promise<FoundIssuers>
    readonly open: (place: IssuerPlace) => Promise<Issuer>
  },
): Promise<LiveIssuers & { readonly problems: readonly string[] }> => {
  const { clock } = o
  const opened = new Map<string, Issuer>()
  const listeners: (() => void)[] = []
  let states: IssuerStates = { records: [], ends: new Map(), chainVersion: 0 }
  let configured: IssuerPlace | undefined
  let usable: readonly Issuer[] = []
  let actives: readonly Issuer[] = []
  let published: readonly Issuer[] = []

  const recordOf = (ski: string): IssuerRecord | undefined =>
    states.records.find((record) => record.ski === ski)

  /** Nobody will ask about it any more: then its key is not held either. */
  const isOver = (ski: string): boolean => (states.ends.get(ski) ?? Infinity) < clock()

  const arrange = (): void => {
    const here = inOrder(states.records).flatMap((record) => {
      const issuer = opened.get(record.ski)
      return issuer === undefined ? [] : [{ record, issuer }]
    })
    usable = here.filter(({ record }) => record.state !== 'retired').map(({ issuer }) => issuer)
    actives = here.filter(({ record }) => record.state === 'active').map(({ issuer }) => issuer)
    published = here.filter(({ record }) => record.state !== 'prepared').map(({ issuer }) => issuer)
  }

  const readStates = async (): Promise<void> => {
    states = await readIssuerStates(o)
    const over = [...opened.values()].filter(({ ski }) => isOver(ski))
    for (const { ski } of over) opened.delete(ski)
    arrange()
    for (const issuer of over) await issuer[Symbol.asyncDispose]()
  }

  /** @returns the problem with it */
  const consider = async (place: IssuerPlace): Promise<Error | undefined> => {
    const known = opened.get(place.ski)
    if (known !== undefined && known.certificate.spkiSha256 !== place.spkiSha256)
      return new FleetError(
        'conflict',
        `${place.name}: another key is in use under the subject key id ${place.ski}`,
      )
    if (known !== undefined && place.notAfter <= known.certificate.notAfter) return undefined
    if (isOver(place.ski)) return undefined
    try {
      const issuer = await o.open(place)
      opened.set(issuer.ski, issuer)
      await known?.[Symbol.asyncDispose]()
      return undefined
    } catch (error) {
      if (error instanceof FleetError && error.code === 'registry_unavailable') throw error
      return error as Error
    }
  }

  const find = async (): Promise<FoundIssuers> => {
    try {
      return await o.find()
    } catch (error) {
      return { places: [], problems: [], failed: error as Error }
    }
  }

  const signing = (): Issuer | undefined => actives.find(isReady) ?? actives[0]

  /** @param first who comes as the first of all must be the configured one, so nothing else is put on record before it */
  const look = async (
    first: boolean,
  ): Promise<{ readonly problems: readonly string[]; readonly ofSigner: Error | undefined }> => {
    await readStates()
    const found = await find()
    const problems: string[] = [...found.problems]
    let ofSigner: Error | undefined
    const note = (problem: Error, ofOne: boolean): void => {
      problems.push(detailOf(problem))
      if (ofOne) ofSigner ??= problem
      if (first && ofOne && states.records.length === 0) throw problem
    }
    if (found.failed !== undefined) note(found.failed, true)
    configured = found.places.find((place) => place.configured) ?? configured
    for (const place of found.places) {
      const problem = await consider(place)
      if (problem !== undefined) note(problem, place.configured || recordOf(place.ski)?.state === 'active')
    }
    await readStates()
    return { problems, ofSigner }
  }

  const first = await look(true)
  // nobody signs, for a reason that is in a file: said before the desk starts. Where another one signs it is only said
  if (actives.length === 0 && first.ofSigner !== undefined) throw first.ofSigner

  const away = (): readonly string[] =>
    usable
      .filter((issuer) => !isReady(issuer))
      .map(({ ski, problem }) => `issuer ${ski}: the signer cannot be used: ${problem?.() ?? 'it is away'}`)

  const serially = createSerially()
  return {
    problems: first.problems,
    active: () => {
      const issuer = signing()
      if (issuer === undefined) throw noneActive()
      return issuer
    },
    signing,
    all: () => usable,
    published: () => published,
    chainPemOf: (wanted) => {
      const open = opened.get(wanted)
      if (open !== undefined) return open.chainPem
      const record = recordOf(wanted)
      return record === undefined ? '' : toPem('CERTIFICATE', record.der)
    },
    records: () => states.records,
    offered: () => {
      const ders = inOrder(states.records)
        .filter(({ state }) => isOffered(state))
        .flatMap(({ ski, der }) => {
          const open = opened.get(ski)
          return open === undefined ? [der] : fromPem(open.chainPem, 'CERTIFICATE')
        })
      return [...new Map(ders.map((der) => [Buffer.from(der).toString('base64'), der])).values()]
    },
    chainVersion: () => states.chainVersion,
    publishedUntil: (ski) => {
      const until = states.ends.get(ski)
      return until === undefined || until === -Infinity ? undefined : until
    },
    notices: () => {
      const record = configured === undefined ? undefined : recordOf(configured.ski)
      if (configured === undefined || record === undefined) return []
      const waits = record.state === 'prepared' || record.state === 'offered'
      return waits ? [noticeOf(configured, record, actives.length > 0)] : []
    },
    letGo: async () => {
      if (published.some(({ ski }) => isOver(ski))) await serially(readStates)
    },
    refresh: () =>
      serially(async () => {
        try {
          const { problems } = await look(false)
          return [...problems, ...away()]
        } finally {
          // also when something broke: states may have been read before it did
          for (const listener of listeners) listener()
        }
      }),
    onChange: (listener) => {
      listeners.push(listener)
    },
    async [Symbol.asyncDispose]() {
      await serially(async () => undefined)
      for (const issuer of opened.values()) await issuer[Symbol.asyncDispose]()
      opened.clear()
    },
  }
}
