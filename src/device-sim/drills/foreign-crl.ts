/** An anchor that wants revocation lists: none yet, and nobody is sure; then one that names a certificate, and one that names the CA above it. */

import type { Denial } from '#fleet/denial.ts'
import { clientContext } from '../client/connection.ts'
import type { Identity } from '../client/identity.ts'
import { createImpostor } from '../client/impostor.ts'
import type { Drill } from './drill.ts'
import { heard, openStagedHost, wasAdmitted } from './staged-host.ts'

export const foreignCrl: Drill = {
  name: 'foreign_crl',
  needs: ['staging'],
  async run(stage) {
    const { staging, rootPem, expectations } = stage
    if (staging === undefined) return
    const root = await createImpostor(`sim foreign crl ${stage.run}`, stage.clock())
    const [fine, fallen] = await Promise.all([
      root.intermediate(`sim fine ${stage.run}`),
      root.intermediate(`sim fallen ${stage.run}`),
    ])
    const [good, listed, below] = await Promise.all([
      fine.issue({ commonName: 'good' }),
      fine.issue({ commonName: 'listed' }),
      fallen.issue({ commonName: 'below' }),
    ])
    const contextOf = (identity: Identity) => clientContext({ rootPem, identity })
    const { anchor, asking } = await openStagedHost(stage, staging, {
      name: 'foreign-crl',
      pem: root.rootPem + fine.rootPem + fallen.rootPem,
      trusted: contextOf(good),
      crl: { urls: [], on_stale: 'fail_closed' },
    })
    const refuses = async (what: string, reason: Denial, by: Identity) => {
      const context = contextOf(by)
      await stage.refuses(`foreign_crl.${what}.https`, reason, { ...asking, context })
      const connecting = { context, serverName: asking.serverName, clientId: what }
      await stage.refusesConnect(`foreign_crl.${what}.mqtt`, reason, connecting)
    }

    await refuses('no_list', 'revocation_unknown', good)
    await staging.anchorCrl(anchor, root.crl([fallen.serial]))
    await staging.anchorCrl(anchor, fine.crl([listed.serial]))
    await staging.anchorCrl(anchor, fallen.crl([]))
    for (const identity of [good, listed, below]) {
      const context = contextOf(identity)
      await heard(stage, () => stage.ask('/', { ...asking, context }), ['revocation_unknown'])
    }
    await refuses('listed', 'certificate_revoked', listed)
    await refuses('ca_listed', 'issuer_revoked', below)
    const wrong = wasAdmitted(await stage.ask('/', { ...asking, context: contextOf(good) }))
    expectations.check('foreign_crl.not_listed', wrong === undefined, wrong ?? '')
  },
}
