/** What the use cases of issuing are given, over a registry of a test: a real issuer, real approvals, a webhook that says what it is told. */

import type { Alert, AlertKind } from '#enroll/alerts.ts'
import { createApprovals } from '#enroll/approvals.ts'
import type { IssuanceDeps } from '#enroll/issuance.ts'
import { createIssuers } from '#enroll/issuers.ts'
import { createFailureLimits } from '#enroll/limits.ts'
import { createOverQuota } from '#enroll/over-quota.ts'
import type { WebhookAsk, WebhookVerdict } from '#enroll/webhook.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Issuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'

export type TestIssuance = {
  readonly deps: IssuanceDeps
  readonly alerts: { readonly kind: AlertKind; readonly details: Readonly<Record<string, unknown>> }[]
  /** what the webhook was asked */
  readonly asked: WebhookAsk[]
  /** what it answers from now on */
  say(answer: WebhookVerdict | Error): void
}

/** @param o.issuer put on record as active */
export const issuanceDeps = async (o: {
  readonly registry: Registry
  readonly clock: Clock
  readonly issuer: Issuer
  readonly issuerPerHour?: number
  readonly perMinute?: number
}): Promise<TestIssuance> => {
  const { registry, clock, issuer, perMinute = 1_000 } = o
  const { ski, certificate } = issuer
  await registry.registerIssuer({ ski, der: certificate.der, spkiSha256: certificate.spkiSha256 }, clock())
  const alerts: TestIssuance['alerts'] = []
  const asked: WebhookAsk[] = []
  let answer: WebhookVerdict | Error = { allow: true }
  const alert: Alert = (kind, details) => alerts.push({ kind, details })
  return {
    alerts,
    asked,
    say: (next) => {
      answer = next
    },
    deps: {
      registry,
      clock,
      issuers: createIssuers([issuer]),
      failures: createFailureLimits({ perMinute, clock }),
      strangers: createFailureLimits({ perMinute, clock }),
      issuerPerHour: o.issuerPerHour,
      alert,
      overQuota: createOverQuota({ alert, clock }),
      approvals: createApprovals({ registry, clock }),
      webhooks: {
        ask: (_group, ask) => {
          asked.push(ask)
          return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
        },
        [Symbol.asyncDispose]: () => Promise.resolve(),
      },
    },
  }
}
