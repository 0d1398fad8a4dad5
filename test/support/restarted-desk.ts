/** A desk of a fleet (fleet.ts), started again on its ports and in its home after its process has died. Not a restart that `up` would do: it does none. */

import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { startDesk, type DeskProcess } from '#cli/up/desk-process.ts'
import { relaySettings } from '#cli/offline/development.ts'
import { environmentName } from '#runtime/settings.ts'
import { CHECKOUT, cleanEnvironment, type Fleet } from './fleet.ts'

/** Where both desks listen, as it came out: free ports are not to change under those who use them. */
const settingsOf = ({ stack: { config, urls } }: Fleet): Record<string, string> => {
  const { enroll, gateway } = config
  const places = [
    [enroll.devices_listen, urls.devices],
    [enroll.status_listen, urls.status],
    [enroll.operator_listen, urls.operator],
    [enroll.metrics_listen, urls.enrollMetrics],
    [gateway.https_listen, urls.https],
    [gateway.mqtts_listen, urls.mqtts],
    [gateway.metrics_listen, urls.gatewayMetrics],
  ] as const
  return {
    ...Object.fromEntries(
      places.map(([{ key, host }, url]) => [
        environmentName(key),
        `${isIPv6(host) ? `[${host}]` : host}:${new URL(url).port}`,
      ]),
    ),
    [environmentName('enroll.status_url')]: urls.status,
    ...relaySettings(config, Number(new URL(urls.devices).port)),
  }
}

/** Back when it listens. */
export const startAgain = (fleet: Fleet, name: 'enroll' | 'gateway'): Promise<DeskProcess> =>
  startDesk({
    name,
    home: fleet.home,
    cwd: fleet.home,
    args: [
      `--openssl-config=${join(CHECKOUT, 'src/runtime/openssl.cnf')}`,
      join(CHECKOUT, `src/${name}/main.ts`),
    ],
    env: {
      ...cleanEnvironment(),
      SALLYPORT_ENVIRONMENT: 'development',
      SALLYPORT_HOME: fleet.home,
      ...settingsOf(fleet),
    },
    logPath: join(fleet.home, 'log', `${name}.log`),
  })
