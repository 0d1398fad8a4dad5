/** Certificates of a CA that the hostname does trust, each with something wrong with itself; and one with nothing wrong, which must get in. */

import { createSecureContext } from 'node:tls'
import { HOUR } from '#fleet/clock.ts'
import type { Denial } from '#fleet/denial.ts'
import type { Identity } from '../client/identity.ts'
import { createImpostor, type Forgery } from '../client/impostor.ts'
import type { Drill } from './drill.ts'
import { weakKey } from './weak-key.ts'
import { keepsOut, letsIn, openStagedHost } from './staged-host.ts'

type Case = { readonly reason: Denial; readonly forgery: Omit<Forgery, 'commonName'> }

const casesAt = (now: number): Readonly<Record<string, Case>> => ({
  not_yet_valid: { reason: 'certificate_not_yet_valid', forgery: { notBefore: now + HOUR } },
  expired: { reason: 'certificate_expired', forgery: { notAfter: now - HOUR, notBefore: now - 2 * HOUR } },
  for_servers: { reason: 'certificate_wrong_purpose', forgery: { purpose: 'server' } },
  a_ca: { reason: 'certificate_wrong_purpose', forgery: { isCa: true } },
  for_nothing: { reason: 'certificate_wrong_purpose', forgery: { purpose: 'none' } },
})

export const badCertificates: Drill = {
  name: 'bad_certificates',
  needs: ['staging'],
  async run(stage) {
    const { staging, rootPem } = stage
    if (staging === undefined) return
    const now = stage.clock()
    const ca = await createImpostor(`sim bad certificates ${stage.run}`, now)
    // OpenSSL's own client would not use such a key at its usual level
    const contextOf = ({ keyPem: key, certificatePem: cert }: Identity) =>
      createSecureContext({ ca: rootPem, key, cert, ciphers: 'DEFAULT:@SECLEVEL=0' })

    const trusted = contextOf(await ca.issue({ commonName: 'good' }))
    const host = await openStagedHost(stage, staging, { name: 'bad-certificates', pem: ca.rootPem, trusted })
    const { anchor } = host
    const good = { context: trusted, clientId: `${anchor}/good` }
    await letsIn(stage, 'bad_certificates.good', host, good)

    const refuses = (what: string, reason: Denial, identity: Identity): Promise<void> => {
      const asker = { context: contextOf(identity), clientId: `${anchor}/${what}` }
      return keepsOut(stage, `bad_certificates.${what}`, reason, host, asker)
    }
    for (const [what, { reason, forgery }] of Object.entries(casesAt(now)))
      await refuses(what, reason, await ca.issue({ ...forgery, commonName: what }))
    const keyPem = await weakKey()
    await refuses('weak_key', 'certificate_weak_key', await ca.issue({ commonName: 'weak', keyPem }))
    await letsIn(stage, 'bad_certificates.good', host, good)
  },
}
