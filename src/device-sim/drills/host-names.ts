/** Names that do not fit: Host is not what TLS was asked for, TLS was asked for nothing, or nobody here is called so. */

import type { Drill } from './drill.ts'

export const hostNames: Drill = {
  name: 'host_names',
  needs: [],
  async run(stage) {
    const device = await stage.enroll('host-names')
    const context = stage.contextOf(device)
    const strange = `nowhere.${stage.run}.test`
    const own = new URL(stage.targets.https).host

    const other = { context, headers: { host: strange } }
    await stage.refuses('host_names.another_host', 'host_mismatch', other)
    await stage.refuses('host_names.another_sni', 'host_mismatch', { context, serverName: strange })
    await stage.refuses('host_names.no_sni', 'host_mismatch', {
      context,
      serverName: null,
      headers: { host: own },
    })

    const unknown = { context, serverName: strange }
    await stage.refuses('host_names.unknown.https', 'no_application', {
      ...unknown,
      headers: { host: strange },
    })
    const { deviceId: clientId } = device
    await stage.refusesConnect('host_names.unknown.mqtt', 'no_application', { ...unknown, clientId })
  },
}
