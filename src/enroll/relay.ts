/** Enrolment over MQTT put together, for the device listener: who is a gateway, its shares, its nonces. No rules: relay-*.ts. */

import { randomBytes } from 'node:crypto'
import { readCertificate } from '#pki/certificate.ts'
import type { Config } from '#runtime/config.ts'
import type { App } from './http-app.ts'
import type { IssuanceDeps } from './issuance.ts'
import type { LiveIssuers } from './issuers.ts'
import { readAllIn } from './issuing.ts'
import type { FailureLimits } from './limits.ts'
import { registerRelayApi } from './relay-api.ts'
import { eachGateway } from './relay-enrollment.ts'
import { createAcceptGateway } from './relay-gateway.ts'
import { createNonces } from './relay-nonce.ts'

/** Octets. */
const NONCE_KEY = 32

/**
 * @param o.limits new ones; of failures, by default
 * @throws FleetError `config_invalid`: `enroll.relay_ca` cannot be read
 */
export const registerRelay = (
  app: App,
  o: {
    readonly config: Config
    readonly issuance: IssuanceDeps
    readonly issuers: Pick<LiveIssuers, 'records'>
    readonly limits: (perMinute?: number, detail?: string) => FailureLimits
  },
): void => {
  const { issuance, limits } = o
  const { registry, clock } = issuance
  const { relay_ca: ca, relay_deny: deny, relays_per_minute: perMinute } = o.config.enroll
  registerRelayApi(app, {
    deps: {
      ...issuance,
      failuresAt: eachGateway(limits),
      nonces: createNonces({ key: randomBytes(NONCE_KEY), clock, random: randomBytes }),
    },
    acceptGateway: createAcceptGateway({
      registry,
      deviceKeys: () => new Set(o.issuers.records().map(({ der }) => readCertificate(der).spkiSha256)),
      anchors: ca === undefined ? [] : readAllIn('enroll.relay_ca', ca),
      denied: new Set(deny),
      clock,
    }),
    relays: limits(perMinute, 'the gateway has had its share of this minute'),
  })
}
