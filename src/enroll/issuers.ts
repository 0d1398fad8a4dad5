/**
 * The issuers of this desk: the one that signs, and those whose CRLs and OCSP answers it still makes. Each is opened once, by its own
 * opener, so that one may be files here and another a signer. Their states are the registry's, read again at each change of one, so that
 * a rotation needs no restart. Not the rotation: rotation.ts.
 */

import { isOffered, type IssuerRecord, type IssuerState } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import { fromPem, toPem } from '#pki/pem.ts'
import type { RegistryReader } from '#registry/registry.ts'

export interface Issuers {
  /** Signs new certificates. @throws `issuer_unusable`: none is active now */
  active(): Issuer
  /** Each whose key can be used from here and that is not retired, the active one first. */
  all(): readonly Issuer[]
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
}
/** `problems`: what was there and could not be one, in words. */
export type FoundIssuers = { readonly places: readonly IssuerPlace[]; readonly problems: readonly string[] }

export interface LiveIssuers extends Issuers, AsyncDisposable {
  /** {@link Issuers.active}, for those who only look. */
  signing(): Issuer | undefined
  /** Everyone on record, oldest first. */
  records(): readonly IssuerRecord[]
  /** DER: what devices and others are given to verify certificates of the fleet with, the signing one first, without the roots. */
  offered(): readonly Uint8Array[]
  /**
   * Looks for issuers that have come, reads all states again, and tells. One at a time.
   * @returns what was found and cannot be used, in words. @throws `registry_unavailable`
   */
  refresh(): Promise<readonly string[]>
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
  chainPemOf: (wanted) => issuers.find(({ ski }) => ski === wanted)?.chainPem ?? '',
})

const detailOf = (error: Error): string => (error instanceof FleetError ? error.detail : String(error))

const ORDER: readonly IssuerState[] = ['active', 'retiring', 'offered', 'prepared', 'revoked']

/** Newest first among equals. */
const inOrder = (records: readonly IssuerRecord[]): readonly IssuerRecord[] =>
  ORDER.flatMap((state) => records.filter((record) => record.state === state).toReversed())

/**
 * @param o.find what could be opened now
 * @param o.open opens one, and puts it on record
 * @throws what `find` and `open` throw of the configured one, or of one that is active, when no other is active and usable
 */
export const openIssuers = async (o: {
  readonly registry: Pick<RegistryReader, 'issuers'>
  readonly find: () => FoundIssuers | Promise<FoundIssuers>
  readonly open: (place: IssuerPlace) => Promise<Issuer>
}): Promise<LiveIssuers & { readonly problems: readonly string[] }> => {
  const opened = new Map<string, Issuer>()
  const listeners: (() => void)[] = []
  let records: readonly IssuerRecord[] = []
  let usable: readonly Issuer[] = []
  let signing: Issuer | undefined

  const isRetired = (ski: string): boolean =>
    records.some((record) => record.ski === ski && record.state === 'retired')

  const isActive = (ski: string): boolean =>
    records.some((record) => record.ski === ski && record.state === 'active')

  /** @returns the problem with it */
  const consider = async (place: IssuerPlace): Promise<Error | undefined> => {
    const known = opened.get(place.ski)
    if (known !== undefined)
      return known.certificate.spkiSha256 === place.spkiSha256
        ? undefined
        : new FleetError(
            'conflict',
            `${place.name}: another key is in use under the subject key id ${place.ski}`,
          )
    if (isRetired(place.ski)) return undefined
    try {
      const issuer = await o.open(place)
      opened.set(issuer.ski, issuer)
      return undefined
    } catch (error) {
      if (error instanceof FleetError && error.code === 'registry_unavailable') throw error
      return error as Error
    }
  }

  const readStates = async (): Promise<void> => {
    records = await o.registry.issuers()
    for (const ski of [...opened.keys()].filter(isRetired)) {
      await opened.get(ski)?.[Symbol.asyncDispose]()
      opened.delete(ski)
    }
    usable = inOrder(records).flatMap(({ ski }) => opened.get(ski) ?? [])
    const active = inOrder(records).filter(({ state }) => state === 'active')
    signing = active.flatMap(({ ski }) => opened.get(ski) ?? []).at(0)
  }

  const look = async (): Promise<{
    readonly problems: readonly string[]
    readonly ofSigner: Error | undefined
  }> => {
    const found = await o.find()
    records = await o.registry.issuers()
    const problems: string[] = [...found.problems]
    let ofSigner: Error | undefined
    for (const place of found.places) {
      const problem = await consider(place)
      if (problem === undefined) continue
      problems.push(detailOf(problem))
      if (place.configured || isActive(place.ski)) ofSigner ??= problem
    }
    await readStates()
    return { problems, ofSigner }
  }

  const first = await look()
  // nobody signs, for a reason that is in a file: said before the desk starts. Where another one signs it is only said
  if (signing === undefined && first.ofSigner !== undefined) throw first.ofSigner

  let underway: Promise<unknown> = Promise.resolve()
  return {
    problems: first.problems,
    active: () => {
      if (signing === undefined) throw noneActive()
      return signing
    },
    signing: () => signing,
    all: () => usable,
    chainPemOf: (wanted) => {
      const open = opened.get(wanted)
      if (open !== undefined) return open.chainPem
      const record = records.find(({ ski }) => ski === wanted)
      return record === undefined ? '' : toPem('CERTIFICATE', record.der)
    },
    records: () => records,
    offered: () => {
      const ders = inOrder(records)
        .filter(({ state }) => isOffered(state))
        .flatMap(({ ski, der }) => {
          const open = opened.get(ski)
          return open === undefined ? [der] : fromPem(open.chainPem, 'CERTIFICATE')
        })
      return [...new Map(ders.map((der) => [Buffer.from(der).toString('base64'), der])).values()]
    },
    refresh: () => {
      const run = underway.then(async () => {
        const { problems } = await look()
        for (const listener of listeners) listener()
        return problems
      })
      underway = run.catch(() => undefined)
      return run
    },
    onChange: (listener) => {
      listeners.push(listener)
    },
    async [Symbol.asyncDispose]() {
      await underway
      for (const issuer of opened.values()) await issuer[Symbol.asyncDispose]()
      opened.clear()
    },
  }
}
