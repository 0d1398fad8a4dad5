/**
 * What one run puts into a Sallyport to be tried with, and takes away again whatever becomes of the run: claim tokens, an enrolment group with a
 * claim certificate, anchors, policies and applications on host names that nobody else has. All but the tokens needs an operator token of the
 * role admin.
 *
 * A run that is killed leaves its things. They do no harm for long: tokens end (an hour, or what was asked), and the keys of the CAs died with the
 * process, their certificates end within a day. Their names say when the run was to end, for the API shows no age, and the next run removes
 * those that are a day past it: leftovers.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { AnchorBody, ApplicationBody, PolicyBody } from '#wire/access.ts'
import type { TokenCreate } from '#wire/rest.ts'
import type { Identity } from './identity.ts'
import { createImpostor } from './impostor.ts'
import { removeLeftovers, stagedNames } from './leftovers.ts'
import type { NamedKind, Operator } from './operator.ts'

export type Claim = {
  /** a shared claim certificate, good for the group alone */
  readonly identity: Identity
  readonly group: string
}

export type Staging = AsyncDisposable & {
  /** false: the operator token gives claim tokens, and may put nothing else there */
  readonly isAdmin: boolean
  /** a host name that only this run has put anything on; `name`: of letters, digits and `-` */
  hostname(name: string): string
  /** @returns the claim token */
  token(ask: TokenCreate): Promise<string>
  /** A group of its own that takes certificates of a CA made here, and one such certificate. @param o.certificates how many it may yield */
  claim(o: { readonly certificates: number; readonly certificateTtl?: string | undefined }): Promise<Claim>
  /** @returns the name that it has there: a policy's, for applications; an anchor's, for its CRLs */
  anchor(name: string, body: AnchorBody): Promise<string>
  policy(name: string, body: PolicyBody): Promise<string>
  application(name: string, body: ApplicationBody): Promise<string>
  /** of an anchor, by the name that it has there */
  anchorCrl(anchor: string, crl: string): Promise<void>
}

export type StagingOptions = {
  /** one that goes on when the run is ended: it is what takes everything away */
  readonly operator: Operator
  /** of the run: its seed */
  readonly run: string
  readonly clock: Clock
  /** ms that the run takes; what it leaves is not old before that. undefined: nobody knows */
  readonly lasts?: number | undefined
  /** told what was removed that a killed run had left, by kind and name */
  readonly onRemoved?: ((what: string) => void) | undefined
  /** told what could not be taken away, in words */
  readonly onLeft?: ((what: string) => void) | undefined
}

const whyOf = (error: unknown): string =>
  error instanceof FleetError ? `${error.code}, ${error.detail}` : String(error)

/** Nobody has said no: the answer may be what was lost. */
const mayHaveBeenDone = (error: unknown): boolean =>
  !(error instanceof FleetError) ||
  ['target_unreachable', 'internal', 'registry_unavailable'].includes(error.code)

const isCode = (error: unknown, code: FleetError['code']): boolean =>
  error instanceof FleetError && error.code === code

/**
 * Devices that enrolled into it live on, so the group stays for them to renew by: it takes no claim certificate any more, and nobody has a
 * token for it.
 */
const removeGroup = async (operator: Operator, name: string): Promise<void> => {
  try {
    await operator.remove('groups', name)
  } catch (error) {
    if (!isCode(error, 'in_use')) throw error
    await operator.put('groups', name, { credentials: ['token'] })
  }
}

/** Nothing tells a token its role: it tries. @throws what the operator API says but `forbidden` */
const mayPut = async (operator: Operator, name: string): Promise<boolean> => {
  try {
    await operator.make('policies', name, { decision: 'deny', include: [{ everyone: {} }] })
    await operator.remove('policies', name)
    return true
  } catch (error) {
    if (isCode(error, 'forbidden')) return false
    throw error
  }
}

/** @throws what the operator API says of a look, `target_unreachable` among it */
export const openStaging = async (o: StagingOptions): Promise<Staging> => {
  const { operator, clock, run } = o
  const prefix = stagedNames(run, clock() + (o.lasts ?? 0))
  const isAdmin = await mayPut(operator, `${prefix}-may`)
  if (isAdmin) await removeLeftovers(o)
  /** latest first */
  const undo: { readonly what: () => string; readonly work: () => Promise<void> }[] = []
  const underWay = new Set<Promise<unknown>>()
  let closed = false
  let claims = 0

  /** What takes it away is known before it is made: the answer may be lost. What was refused was not made, so it is not ours to take. */
  const make = async <T>(
    what: () => string,
    work: () => Promise<T>,
    away: () => Promise<void>,
  ): Promise<T> => {
    if (closed) throw new FleetError('conflict', `${what()}: the run is over`)
    const entry = { what, work: away }
    undo.unshift(entry)
    const making = work()
    underWay.add(making)
    try {
      return await making
    } catch (error) {
      if (!mayHaveBeenDone(error)) undo.splice(undo.indexOf(entry), 1)
      throw error
    } finally {
      underWay.delete(making)
    }
  }

  const named = async <K extends Exclude<NamedKind, 'groups'>>(
    kind: K,
    name: string,
    body: Parameters<typeof operator.make<K>>[2],
  ): Promise<string> => {
    const full = `${prefix}-${name}`
    await make(
      () => `${kind} ${full}`,
      () => operator.make(kind, full, body),
      () => operator.remove(kind, full),
    )
    return full
  }

  return {
    isAdmin,
    hostname: (name) => `${name}.${prefix}.test`,
    async token(ask) {
      let id: string | undefined
      const created = await make(
        () =>
          id === undefined ? 'a claim token' : `the claim token ${id} (npx sallyport token revoke ${id})`,
        async () => {
          const made = await operator.createToken(ask)
          ;({ id } = made)
          return made
        },
        async () => {
          if (id === undefined)
            throw new FleetError('target_unreachable', 'nobody said whether there is one: it ends by itself')
          await operator.revokeToken(id)
        },
      )
      return created.token
    },
    async claim({ certificates, certificateTtl }) {
      const group = `${prefix}-claim-${++claims}`
      // a CA of its own each time: of two groups with one anchor the desk would not know which is meant
      const factory = await createImpostor(`${group} factory`, clock())
      await make(
        () => `group ${group}`,
        () =>
          operator.make('groups', group, {
            credentials: ['bootstrap'],
            bootstrap: { anchors: factory.rootPem, certificates_per_credential: certificates },
            ...(certificateTtl === undefined ? {} : { cert_ttl: certificateTtl }),
          }),
        () => removeGroup(operator, group),
      )
      return { identity: await factory.issue({ commonName: 'claim' }), group }
    },
    anchor: (name, body) => named('anchors', name, body),
    policy: (name, body) => named('policies', name, body),
    application: (name, body) => named('applications', name, body),
    anchorCrl: (anchor, crl) => operator.putAnchorCrl(anchor, crl),
    async [Symbol.asyncDispose]() {
      closed = true
      await Promise.allSettled(underWay)
      for (const { what, work } of undo.splice(0))
        await work().catch((error: unknown) => o.onLeft?.(`${what()}: ${whyOf(error)}`))
    },
  }
}
