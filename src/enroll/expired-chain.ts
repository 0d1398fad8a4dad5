/**
 * The signatures above an expired certificate, verified by ourselves: OpenSSL has said no to it, and its error names only its last
 * complaint. Not who may come so late: that is #policy/renewal.ts; not the leaf's own identity: that is its fingerprint in the registry.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { isStanding } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { issuedBy, verifyChain } from '#pki/chain.ts'
import { isStrongSignature } from '#pki/signatures.ts'
import type { RegistryReader } from '#registry/registry.ts'
import type { Issuers } from './issuers.ts'

const untrusted = (detail: string): FleetError => new FleetError('certificate_untrusted', detail)

/**
 * From the leaf to the issuer that the registry has for it, and from there to a root of this desk. The dates above are those of the
 * leaf's last moment, when all of it was valid together; or of today, for a root that was made anew with its old key meanwhile.
 * @param issuerSki of the leaf, by the registry
 * @throws `certificate_untrusted`, `issuer_revoked`, `registry_unavailable`
 */
export const verifyExpired = async (
  { registry, issuers }: { readonly registry: Pick<RegistryReader, 'issuers'>; readonly issuers: Issuers },
  leaf: CertificateFacts,
  issuerSki: string,
  now: number,
): Promise<void> => {
  const record = (await registry.issuers()).find(({ ski }) => ski === issuerSki)
  if (record === undefined) throw untrusted('its issuer is not on record')
  if (!isStanding(record.state)) throw new FleetError('issuer_revoked', `its issuer is ${record.state}`)
  const issuer = readCertificate(record.der)
  if (!isStrongSignature(leaf.signatureAlgorithm) || !issuedBy(leaf, issuer))
    throw untrusted('it is not signed by its issuer')
  const ours = issuers.all()
  const pool = ours.flatMap(({ chainPem }) => readCertificates(chainPem))
  const roots = ours.map(({ root }) => root)
  const leads = (at: number): boolean => verifyChain({ leaf: issuer, pool, roots, now: at }).ok
  if (!leads(leaf.notAfter) && !leads(now)) throw untrusted('its issuer does not lead to a root of this desk')
}
