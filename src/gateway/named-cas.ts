/**
 * The CAs that the MQTT door names in its handshakes beside those that it trusts: the anchors of enrolment groups, so that clients which send only
 * certificates of CAs that were named do send their bootstrap certificate. Named, and not trusted: what stands among the anchors bears the name and
 * nothing else (#pki/self-signed.ts), so that OpenSSL's verdict stays one about devices. Who may enrol is mqtt/claims.ts's to say.
 */

import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { nameBearer } from '#pki/self-signed.ts'
import { anchorsToName } from '#trust/bootstrap-trust.ts'

/** `name`: the subject's DER, hex. `pem`: what bears it */
export type NamedCa = { readonly name: string; readonly pem: string }

export const nameOfCa = ({ subjectDer }: { readonly subjectDer: Uint8Array }): string =>
  Buffer.from(subjectDer).toString('hex')

/**
 * @param groups of the registry: the same map as long as nothing in it has changed; may throw
 * @returns the same array as long as the names are the same. Never throws: what was named last is named on
 */
export const createNamedCas = (
  groups: () => ReadonlyMap<string, EnrollmentGroup>,
): (() => readonly NamedCa[]) => {
  let seen: ReadonlyMap<string, EnrollmentGroup> | undefined
  let named: readonly NamedCa[] = []
  const bearers = new Map<string, NamedCa>()
  const look = (now: ReadonlyMap<string, EnrollmentGroup>): void => {
    const wanted = new Map(anchorsToName(now).map((anchor) => [nameOfCa(anchor), anchor.subjectDer]))
    for (const name of bearers.keys()) if (!wanted.has(name)) bearers.delete(name)
    for (const [name, subjectDer] of wanted)
      if (!bearers.has(name)) bearers.set(name, { name, pem: nameBearer(subjectDer) })
    const next = [...wanted.keys()].map((name) => bearers.get(name) as NamedCa)
    if (next.length !== named.length || next.some((each, at) => each !== named[at])) named = next
    seen = now
  }
  return () => {
    try {
      const now = groups()
      if (now !== seen) look(now)
    } catch {
      // admission says what is wrong, and refuses
    }
    return named
  }
}
