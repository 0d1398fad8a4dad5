/**
 * What an operator should hear of without looking for it: one line in the log and one count under its kind, so that a rule on
 * `sallyport_alerts_total` finds it. Not the audit: the registry writes that with what has happened.
 */

import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'

/** Closed, so that rules can be written before it happens. */
export type AlertKind =
  | 'clone_suspected'
  | 'quota_exceeded'
  | 'anchor_crl_stale'
  | 'anchor_crl_unreachable'
  | 'ca_ending'
  | 'bootstrap_crl_stale'
  | 'imported_crl_stale'

/** `details`: for the log line; no secrets. `level`: of that line, `warn` by default */
export type Alert = (
  kind: AlertKind,
  details: Readonly<Record<string, unknown>>,
  text: string,
  level?: 'warn' | 'error',
) => void

export const createAlert = ({ log, metrics }: { readonly log: Log; readonly metrics: Metrics }): Alert => {
  const alerts = metrics.counter('sallyport_alerts_total', 'What an operator should look at', ['kind'])
  return (kind, details, text, level = 'warn') => {
    alerts.inc({ kind })
    log[level]({ alert: kind, ...details }, text)
  }
}
