/** Enrolment over MQTT is there when the settings say so, whole, and not otherwise. */

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openEnrolment } from '#gateway/mqtt/enrolment.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { makePki } from '../../../support/pki.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const now = Date.now()
const open = (home: string, env: Record<string, string>, metrics = createMetrics('gateway')) =>
  openEnrolment({
    config: loadConfig({
      desk: 'gateway',
      cwd: home,
      env: { SALLYPORT_HOME: home, SALLYPORT_ENVIRONMENT: 'development', ...env },
    }),
    groups: () => new Map(),
    log: createLog('gateway', 'debug', { write: () => {} }),
    metrics,
    clock: () => now,
  })
const URL = { SALLYPORT_GATEWAY_ENROLL_URL: 'https://enroll.test:8443' }
const CERT = { SALLYPORT_GATEWAY_RELAY_CERT: 'certs/gateway.pem' }
const KEY = { SALLYPORT_GATEWAY_RELAY_KEY: 'certs/private/gateway.key' }

test.each<[string, Record<string, string>, RegExp]>([
  ['a certificate', { ...URL, ...KEY }, /^gateway\.relay_cert/],
  ['its key', { ...URL, ...CERT }, /^gateway\.relay_key/],
  [
    'the file of the certificate',
    { ...URL, ...KEY, SALLYPORT_GATEWAY_RELAY_CERT: 'none.pem' },
    /^gateway\.relay_cert/,
  ],
  [
    'the key of this certificate',
    { ...URL, ...CERT, SALLYPORT_GATEWAY_RELAY_KEY: 'certs/private/server.key' },
    /^gateway\.relay_key/,
  ],
  ['the roots', { ...URL, ...CERT, ...KEY, SALLYPORT_GATEWAY_RELAY_CA: 'none.pem' }, /^gateway\.relay_ca/],
])('not without %s', async (_, env, detail) => {
  using home = temporaryFolder()
  await makePki({ now }).writeTo(join(home.path, 'certs'))
  expect(() => open(home.path, env)).toThrow(
    expect.objectContaining({ code: 'config_invalid', detail: expect.stringMatching(detail) as string }),
  )
})

test('not without a URL; with all of it, and a metric that says until when', async () => {
  using home = temporaryFolder()
  const pki = makePki({ now })
  await pki.writeTo(join(home.path, 'certs'))
  expect(open(home.path, { ...CERT, ...KEY })).toBeUndefined()
  const metrics = createMetrics('gateway')
  await using enrolment = open(home.path, { ...URL, ...CERT, ...KEY }, metrics)
  expect(enrolment?.claims.takes({ ...pki.device(), sentChain: [] } as never)).toBe(false)
  expect(await metrics.text()).toMatch(/sallyport_mqtt_relay_life_seconds\{[^}]*\} 25\d{5}/)
})
