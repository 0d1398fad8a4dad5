/** What is printed once everything runs: where it is, and how to try it by hand. Every line is to be pasted as it stands. */

import { isAbsolute, join, relative } from 'node:path'
import { pairs, quote } from '../output.ts'
import type { Stack } from './stack.ts'

export type ReadyFacts = {
  /** since this process began */
  readonly seconds: number
  /** a device got in by then */
  readonly admitted: boolean
  /** undefined: nothing had to be installed */
  readonly installSeconds: number | undefined
  /** where `npx sallyport` works */
  readonly checkout: string
}

/** Relative to where the lines are pasted, when it is below it. */
const shownFrom =
  (base: string) =>
  (path: string): string => {
    const near = relative(base, path)
    return quote(near.startsWith('..') || isAbsolute(near) ? path : near)
  }

const where = ({ urls, config, operatorToken }: Stack, shown: (path: string) => string): string[] => {
  const tokenPath = shown(join(config.home, 'certs/private/operator.token'))
  const token = operatorToken?.made
    ? `${operatorToken.token}  (kept in ${tokenPath})`
    : operatorToken && `in ${tokenPath}`
  return pairs([
    ['  gateway, HTTPS', urls.https],
    ['  gateway, MQTT', urls.mqtts],
    ['  enrolment', urls.devices],
    ['  CRLs and issuers', urls.status],
    ['  operator API', urls.operator],
    ['  operator token', token],
    ['  example origin', urls.origin],
    ['  metrics', `${urls.enrollMetrics}/metrics  ${urls.gatewayMetrics}/metrics`],
    ['  logs', shown(join(config.home, 'log'))],
  ])
}

/** @returns the commands for a device of one's own, in the order in which they are to be pasted */
const tryLines = (stack: Stack, checkout: string): string[] => {
  const { config, urls } = stack
  const shown = shownFrom(checkout)
  const root = shown(config.ca.root)
  const url = quote(`${urls.https}/hello`)
  const curl = `curl -i --cacert ${root}`
  const own = '--cert my-device/full.pem --key my-device/key.pem'
  const { hostname, port } = new URL(urls.mqtts)
  const mqtt = `-h ${hostname} -p ${port} --cafile ${root} ${own} -i my-device`
  return [
    `cd ${quote(checkout)}`,
    ...(config.home === checkout ? [] : [`export SALLYPORT_HOME=${quote(config.home)}`]),
    '# a token, then a key and a certificate of its own',
    'TOKEN=$(npx sallyport token create --device my-device --quiet)',
    'npx sallyport device enroll my-device --token "$TOKEN"',
    '# without the certificate: 403 certificate_required',
    `${curl} ${url}`,
    '# with it: 200, from the origin',
    `${curl} ${own} ${url}`,
    '# MQTT: leave a message, then read it',
    `mosquitto_pub ${mqtt} -t devices/my-device/hello -m hello -q 1 -r`,
    `mosquitto_sub ${mqtt} -t 'devices/my-device/#' -C 1 -W 5`,
    '# revoked: 403 certificate_revoked, from the very next request on',
    'npx sallyport device revoke my-device',
    `${curl} ${own} ${url}`,
  ]
}

const inSeconds = (s: number): string => `${s.toFixed(1)} s`

export const readyText = (stack: Stack, facts: ReadyFacts): string[] => {
  const { installSeconds, checkout } = facts
  const install =
    installSeconds === undefined ? '' : ` (the installation before that: ${inSeconds(installSeconds)})`
  const when = `${facts.admitted ? 'the first device was admitted' : 'everything listens'} after ${inSeconds(facts.seconds)}`
  return [
    `Sallyport is ready: ${when}${install}.`,
    '',
    ...where(stack, shownFrom(checkout)),
    ...(stack.operatorToken === undefined
      ? []
      : [
          '',
          'A device of your own: paste these in a second terminal, one after the other.',
          '',
          ...tryLines(stack, checkout).map((line) => `  ${line}`),
        ]),
    '',
  ]
}
