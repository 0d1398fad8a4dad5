/**
 * What one run puts into a Sallyport to be tried with, and takes away again whatever becomes of the run: claim tokens, an enrolment group with a
 * claim certificate, anchors, policies and applications on host names that nobody else has. Needs an operator token of the role admin.
 *
 * A run that is killed leaves its things. They do no harm for long: tokens end (an hour, or what was asked), and the keys of the CAs died with the
 * process, their certificates end within a day. Their names say when they were made (`sim-<seconds in base 36>-<run>-…`; the API shows
 * no age), and the next run removes those that are older than a day: not an hour, for runs may take several.
 */

import { createHash } from 'node:crypto'
import { DAY, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { AnchorBody, ApplicationBody, PolicyBody } from '#wire/access.ts'
import type { TokenCreate } from '#wire/rest.ts'
import type { Identity } from './identity.ts'
import { createImpostor } from './impostor.ts'
import type { NamedKind, Operator } from './operator.ts'

export type Claim = {
  /** a shared claim certificate, good for the group alone */
  readonly identity: Identity
  readonly group: string
}

export type Staging = AsyncDisposable & {
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
  /** `[a-z0-9]+`, of the run */
  readonly run: string
  readonly clock: Clock
  /** told what could not be taken away, in words */
  readonly onLeft?: ((what: string) => void) | undefined
}

const LEFT_AFTER = DAY
const PREFIX = 'sim-'
/** Names have 63 characters at most. */
const MOST_RUN = 16

/** An application before its policies and a group last, as they refer to each other. */
const KINDS: readonly NamedKind[] = ['applications', 'policies', 'anchors', 'groups']

/** @returns ms since the epoch; undefined: none of ours */
export const stagedAt = (name: string): number | undefined => {
  const [, seconds] = /^sim-([0-9a-z]{6,7})-/.exec(name) ?? []
  return seconds === undefined ? undefined : Number.parseInt(seconds, 36) * SECOND
}

/** Of killed runs. What is still in use stays; so does what cannot be removed now. */
const removeLeftovers = async ({ operator, clock }: StagingOptions): Promise<void> => {
  for (const kind of KINDS)
    for (const name of await operator.names(kind))
      if ((stagedAt(name) ?? Infinity) < clock() - LEFT_AFTER)
        await operator.remove(kind, name).catch(() => undefined)
}

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

/** @throws `forbidden`: the operator token is not an admin's; `target_unreachable` */
export const openStaging = async (o: StagingOptions): Promise<Staging> => {
  const { operator, clock, run } = o
  await removeLeftovers(o)
  // a long run name is cut, and told apart by its hash
  const short =
    run.length <= MOST_RUN ? run : createHash('sha256').update(run).digest('hex').slice(0, MOST_RUN)
  const prefix = `${PREFIX}${Math.floor(clock() / SECOND).toString(36)}-${short}`
  /** latest first */
  const undo: { readonly what: string; readonly work: () => Promise<void> }[] = []
  const underWay = new Set<Promise<unknown>>()
  let closed = false
  let claims = 0

  /** What takes it away is known before it is made: the answer may be lost. */
  const make = async <T>(what: string, work: () => Promise<T>, away: () => Promise<void>): Promise<T> => {
    if (closed) throw new FleetError('conflict', `${what}: the run is over`)
    undo.unshift({ what, work: away })
    const making = work()
    underWay.add(making)
    try {
      return await making
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
      `${kind} ${full}`,
      () => operator.make(kind, full, body),
      () => operator.remove(kind, full),
    )
    return full
  }

  return {
    hostname: (name) => `${name}.${prefix}.test`,
    async token(ask) {
      let id: string | undefined
      const created = await make(
        'a claim token',
        async () => {
          const made = await operator.createToken(ask)
          ;({ id } = made)
          return made
        },
        async () => (id === undefined ? undefined : operator.revokeToken(id)),
      )
      return created.token
    },
    async claim({ certificates, certificateTtl }) {
      const group = `${prefix}-claim-${++claims}`
      // a CA of its own each time: of two groups with one anchor the desk would not know which is meant
      const factory = await createImpostor(`${group} factory`, clock())
      await make(
        `group ${group}`,
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
        await work().catch((error: unknown) => o.onLeft?.(`${what}: ${String(error)}`))
    },
  }
}
