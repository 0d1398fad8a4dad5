/**
 * Who asks over EST, and for which group: by the label of the path, HTTP Basic, or the certificate of the connection. All of it is known
 * before a byte of the body is read, so all of it is judged by then.
 *
 * Many EST clients send a password only when they are asked for it (401, RFC 7030 §3.2.3), with a certificate or without. So whoever comes
 * without one is asked, wherever a claim token could help: a group that is to take strangers, by list or approval, takes no tokens.
 */

import type { FastifyRequest } from 'fastify'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FIRST_GROUP, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { sameName } from '#pki/names.ts'
import { authenticateAsker, isBootstrapPeer } from './asker.ts'
import { authenticateBootstrap } from './bootstrap.ts'
import type { Claim } from './claim.ts'
import { basicOf } from './est-messages.ts'
import { addressOf, peerOf } from './http-app.ts'
import type { IssuanceDeps } from './issuance.ts'

type Groups = ReadonlyMap<string, EnrollmentGroup>

/** The groups are one map until one of them changes. */
const known = new WeakMap<Groups, ReadonlyMap<string, EnrollmentGroup>>()

/** @returns undefined: the path has none. @throws `not_found`: nobody's */
export const groupOfLabel = (groups: Groups, label: string | undefined): EnrollmentGroup | undefined => {
  if (label === undefined) return undefined
  let labels = known.get(groups)
  if (labels === undefined) {
    labels = new Map([...groups.values()].flatMap((group) => group.estLabels.map((each) => [each, group])))
    known.set(groups, labels)
  }
  const group = labels.get(label)
  if (group === undefined) throw new FleetError('not_found', 'no group has this label')
  return group
}

/** @throws `credential_not_allowed`: it is of another group than the label */
export const checkLabel = (label: EnrollmentGroup | undefined, group: string): void => {
  if (label !== undefined && label.name !== group)
    throw new FleetError('credential_not_allowed', 'the credential is for another group than this label')
}

const takesTokens = (group: EnrollmentGroup | undefined): boolean =>
  group?.credentials.includes('token') ?? false

/** Whatever is wrong with a certificate is wrong with it alone. */
const OF_THE_CERTIFICATE: ReadonlySet<ErrorCode> = new Set([
  'session_resumed',
  'certificate_untrusted',
  'certificate_expired',
  'certificate_not_yet_valid',
  'certificate_wrong_purpose',
  'certificate_weak_key',
  'certificate_revoked',
  'key_compromised',
  'credential_not_allowed',
  'group_disabled',
])

/** Who may yet send a token has shown nothing wrong: many clients send the certificate that they have to whoever names a CA. */
const UNCOUNTED: IssuanceDeps['failures'] = { check: () => undefined, failed: () => undefined }

const byCertificate = async (
  deps: IssuanceDeps,
  request: FastifyRequest,
  label: EnrollmentGroup | undefined,
): Promise<Claim> => {
  const helps =
    takesTokens(label ?? deps.registry.groups().get(FIRST_GROUP)) && (label === undefined || label.enabled)
  try {
    const { failures } = deps
    return await authenticateBootstrap(
      { ...deps, failures: helps ? UNCOUNTED : failures },
      peerOf(request),
      label?.name,
    )
  } catch (error) {
    if (!helps || !(error instanceof FleetError) || !OF_THE_CERTIFICATE.has(error.code)) throw error
    throw new FleetError('credential_required', `send a claim token; of the certificate: ${error.detail}`)
  }
}

/**
 * @returns `claim`: undefined for who shows nothing; `group`: to enrol in, where the credential does not say it
 * @throws `credential_required`, `credential_not_allowed`, `rate_limited`, and those of both ways to authenticate
 */
export const authenticateEstAsker = async (
  deps: IssuanceDeps,
  request: FastifyRequest,
  label: EnrollmentGroup | undefined,
): Promise<{ readonly claim: Claim | undefined; readonly group: string | undefined }> => {
  const { authorization } = request.headers
  const authorized = authorization !== undefined
  const peer = peerOf(request)
  if (!authorized && isBootstrapPeer(deps, peer)) {
    const claim = await byCertificate(deps, request, label)
    return { claim, group: claim.group }
  }
  const group = label?.name ?? FIRST_GROUP
  if (!authorized && takesTokens(deps.registry.groups().get(group))) {
    throw new FleetError(
      'credential_required',
      peer?.leaf !== undefined && deps.registry.status(peer.leaf.fingerprint) !== undefined
        ? 'send a claim token; the certificate of a device is for simplereenroll'
        : 'send a claim token as the password',
    )
  }
  const claim = await authenticateAsker(deps, {
    authorized,
    token: basicOf(authorization)?.password,
    peer,
    group,
    address: addressOf(request),
  })
  if (claim !== undefined) checkLabel(label, claim.group)
  return { claim, group: claim === undefined ? group : label?.name }
}

/**
 * RFC 7030 §4.2.2 asks that a re-enrolment repeats subject and SAN of the current certificate. Any that it names must be equal; a SAN that
 * is left out is none asked for (strongSwan cannot write a URI into one), and the new certificate has the old one's either way.
 * @throws `device_id_mismatch`
 */
export const checkSameNames = (csr: CsrFacts, current: CertificateFacts): void => {
  const asksNone = csr.sanUris.length + csr.sanDns.length + csr.sanOthers === 0
  const same = (asked: readonly string[], has: readonly string[]): boolean =>
    asked.length === has.length && asked.every((name, at) => name === has[at])
  if (!sameName(csr.subjectDer, current.subjectDer))
    throw new FleetError('device_id_mismatch', 'the subject is not that of the current certificate')
  if (asksNone) return
  if (csr.sanOthers > 0 || !same(csr.sanUris, current.sanUris) || !same(csr.sanDns, current.sanDns))
    throw new FleetError(
      'device_id_mismatch',
      'the subject alternative name is not that of the current certificate',
    )
}
