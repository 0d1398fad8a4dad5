/**
 * What an operator should hear of without looking for it: one warning in the log and one count under its kind, so that a rule on
 * `sallyport_alerts_total` finds it. Not the audit: the registry writes that with what has happened.
 */

import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'

/** Closed, so that rules can be written before it happens. */
export type AlertKind = 'clone_suspected' | 'quota_exceeded' | 'anchor_crl_stale' | 'anchor_crl_unreachable'

/** `details`: for the log line; no secrets. */
export type Alert = (kind: AlertKind, details: Readonly<Record<string, unknown>>, text: string) => void

export const createAlert = ({ log, metrics }: { readonly log: Log; readonly metrics: Metrics }): Alert => {
  const alerts = metrics.counter('sallyport_alerts_total', 'What an operator should look at', ['kind'])
  return (kind, details, text) => {
    alerts.inc({ kind })
    log.warn({ alert: kind, ...details }, text)
  }
}
