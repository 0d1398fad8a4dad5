/** A good certificate that no policy lets in, beside one that gets in; paths that belong to no application, and paths that only seem to belong to one. */

import type { PolicyBody } from '#wire/access.ts'
import type { Drill } from './drill.ts'
import { keepsOut, letsIn, openStagedHost, wasAdmitted } from './staged-host.ts'

export const policies: Drill = {
  name: 'policies',
  needs: ['staging'],
  async run(stage) {
    const { staging, rootPem } = stage
    if (staging === undefined) return
    const [device, other] = await Promise.all([stage.enroll('policies'), stage.enroll('policies-in')])
    const { deviceId: clientId } = device
    const context = stage.contextOf(device)
    const good = { context: stage.contextOf(other), clientId: other.deviceId }
    const named = (name: string) => ({ common_name: { common_name: name } })
    const hosts: Readonly<Record<string, readonly PolicyBody[]>> = {
      nobody: [{ decision: 'non_identity', include: [named(good.clientId)] }],
      denied: [
        { decision: 'deny', include: [{ certificate: {} }] },
        { decision: 'non_identity', include: [named(good.clientId)] },
      ],
    }
    for (const [what, placed] of Object.entries(hosts)) {
      const name = `policies-${what}`
      const host = await openStagedHost(stage, staging, {
        name,
        pem: rootPem,
        trusted: good.context,
        policies: placed,
      })
      await letsIn(stage, `policies.${what}.good`, host, good)
      await keepsOut(stage, `policies.${what}`, 'policy_denied', host, { context, clientId })
    }

    const { asking } = await openStagedHost(stage, staging, {
      name: 'policies-path',
      pem: rootPem,
      trusted: good.context,
      applications: [{ path: '/here/*' }],
    })
    const elsewhere = { ...asking, context, target: '/elsewhere' }
    await stage.refuses('policies.no_path.https', 'no_application', elsewhere)
    for (const target of ['/here/..;/elsewhere', '/here/%2felsewhere'])
      await stage.refuses('policies.ambiguous_path.https', 'bad_target', { ...elsewhere, target })
    const there = wasAdmitted(await stage.ask('/here/it', { ...asking, context }))
    stage.expectations.check('policies.path.https', there === undefined, there ?? '')
    const connecting = { context, clientId, serverName: asking.serverName }
    await stage.refusesConnect('policies.no_broker.mqtt', 'no_application', connecting)
  },
}
