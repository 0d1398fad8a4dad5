/**
 * An anchor that wants revocation lists: none yet, and nobody is sure; then one that names a certificate, and one that names the CA above it; and
 * one by somebody who is only called as that CA is, which changes nothing.
 */

import type { Denial } from '#fleet/denial.ts'
import { clientContext } from '../client/connection.ts'
import type { Identity } from '../client/identity.ts'
import { createImpostor } from '../client/impostor.ts'
import type { Drill } from './drill.ts'
import { keepsOut, letsIn, openStagedHost } from './staged-host.ts'

export const foreignCrl: Drill = {
  name: 'foreign_crl',
  needs: ['staging'],
  async run(stage) {
    const { staging, rootPem } = stage
    if (staging === undefined) return
    const root = await createImpostor(`sim foreign crl ${stage.run}`, stage.clock())
    const fineName = `sim fine ${stage.run}`
    const [fine, fallen, twin] = await Promise.all([
      root.intermediate(fineName),
      root.intermediate(`sim fallen ${stage.run}`),
      // trusted as well, and called as the first one is
      root.intermediate(fineName),
    ])
    const [good, listed, below, twins] = await Promise.all([
      fine.issue({ commonName: 'good' }),
      fine.issue({ commonName: 'listed' }),
      fallen.issue({ commonName: 'below' }),
      twin.issue({ commonName: 'twins' }),
    ])
    const contextOf = (identity: Identity) => clientContext({ rootPem, identity })
    const host = await openStagedHost(stage, staging, {
      name: 'foreign-crl',
      pem: root.rootPem + fine.rootPem + fallen.rootPem + twin.rootPem,
      trusted: contextOf(good),
      crl: { urls: [], on_stale: 'fail_closed' },
    })
    const { anchor } = host
    const control = { context: contextOf(good), clientId: `${anchor}/good` }
    const refuses = (what: string, reason: Denial, by: Identity): Promise<void> => {
      const asker = { context: contextOf(by), clientId: `${anchor}/${what}` }
      return keepsOut(stage, `foreign_crl.${what}`, reason, host, asker)
    }

    await refuses('no_list', 'revocation_unknown', good)
    await staging.anchorCrl(anchor, root.crl([fallen.serial]))
    await staging.anchorCrl(anchor, fine.crl([listed.serial]))
    await staging.anchorCrl(anchor, fallen.crl([]))
    // whoever lets it in has read the lists of both CAs above it, which name the other two
    await letsIn(stage, 'foreign_crl.not_listed', host, control)
    await refuses('listed', 'certificate_revoked', listed)
    await refuses('ca_listed', 'issuer_revoked', below)

    await refuses('no_list', 'revocation_unknown', twins)
    await staging.anchorCrl(anchor, twin.crl([good.serial]))
    // whoever lets it in has read its CA's list, which says nothing of what others have issued
    await letsIn(stage, 'foreign_crl.twin', host, { context: contextOf(twins), clientId: `${anchor}/twins` })
    await letsIn(stage, 'foreign_crl.not_listed', host, control)

    const namesake = await createImpostor(fineName, stage.clock())
    await stage.denies(
      'foreign_crl.forged',
      'bad_request',
      staging.anchorCrl(anchor, namesake.crl([good.serial])),
    )
    await letsIn(stage, 'foreign_crl.not_listed', host, control)
  },
}
