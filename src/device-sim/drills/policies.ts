/** A good certificate that no policy lets in, and paths that belong to no application. */

import type { PolicyBody } from '#wire/access.ts'
import type { Drill } from './drill.ts'
import { openStagedHost } from './staged-host.ts'

export const policies: Drill = {
  name: 'policies',
  needs: ['staging'],
  async run(stage) {
    const { staging, rootPem } = stage
    if (staging === undefined) return
    const device = await stage.enroll('policies')
    const { deviceId: clientId } = device
    const context = stage.contextOf(device)
    const hosts: Readonly<Record<string, PolicyBody>> = {
      nobody: { decision: 'non_identity', include: [{ common_name: { common_name: 'somebody-else' } }] },
      denied: { decision: 'deny', include: [{ certificate: {} }] },
    }
    for (const [what, policy] of Object.entries(hosts)) {
      const name = `policies-${what}`
      const { asking } = await openStagedHost(stage, staging, {
        name,
        pem: rootPem,
        trusted: context,
        policy,
      })
      await stage.refuses(`policies.${what}.https`, 'policy_denied', { ...asking, context })
      const connecting = { context, clientId, serverName: asking.serverName }
      await stage.refusesConnect(`policies.${what}.mqtt`, 'policy_denied', connecting)
    }

    const { asking } = await openStagedHost(stage, staging, {
      name: 'policies-path',
      pem: rootPem,
      trusted: context,
      applications: [{ path: '/here/*' }],
    })
    const elsewhere = { ...asking, context, target: '/elsewhere' }
    await stage.refuses('policies.no_path.https', 'no_application', elsewhere)
    const connecting = { context, clientId, serverName: asking.serverName }
    await stage.refusesConnect('policies.no_broker.mqtt', 'no_application', connecting)
  },
}
