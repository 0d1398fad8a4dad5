import { describe, expect, test } from 'vitest'
import { checkUpstreamSettings } from '#gateway/mqtt/brokers/check-settings.ts'
import { loadConfig, type Config } from '#runtime/config.ts'

const settings = (over: Record<string, string>): Config['mqtt'] =>
  loadConfig({
    desk: 'gateway',
    env: { SALLYPORT_HOME: '/nowhere', SALLYPORT_ENVIRONMENT: 'development' },
    cwd: '/nowhere',
    overrides: Object.fromEntries(
      Object.entries(over).map(([name, value]) => [`mqtt.upstream${name}`, value]),
    ),
  }).mqtt

describe('settings of brokers that cannot be meant', () => {
  test.each<[string, Record<string, string>, RegExp]>([
    ['a certificate without its key', { '': 'mqtts://a', _cert: 'c.pem' }, /upstream_key belong together/],
    ['a key without its certificate', { '': 'mqtts://a', _key: 'c.key' }, /upstream_key belong together/],
    ['roots, and no TLS', { '': 'mqtt://a', _ca: 'r.pem' }, /upstream_ca is for mqtts:/],
    ['a certificate, and no TLS', { '': 'mqtt://a', _cert: 'c', _key: 'k' }, /upstream_cert is for mqtts:/],
    ['a user, and no broker', { _username: 'u' }, /upstream_username is for the brokers/],
    ['a password, and no broker', { _password_file: 'p' }, /upstream_password_file is for the brokers/],
    ['PROXY, and no broker', { _proxy_protocol: 'v2' }, /proxy_protocol is for the brokers/],
    ['an engine, and no broker', { _engine: 'nats' }, /upstream_engine is about the brokers/],
    ['one broker twice', { '': 'mqtt://a:1,mqtts://a:1' }, /names a:1 twice/],
  ])('%s', (_, over, words) => {
    expect(() => checkUpstreamSettings(settings(over))).toThrow(words)
    expect(() => checkUpstreamSettings(settings(over))).toThrow(
      expect.objectContaining({ code: 'config_invalid' }),
    )
  })

  test.each([
    {},
    { '': 'mqtt://a' },
    { '': 'mqtt://a,mqtts://b', _ca: 'r.pem', _cert: 'c', _key: 'k', _username: 'u', _password_file: 'p' },
    { '': 'mqtt://a', _proxy_protocol: 'v2' },
    { '': 'mqtt://a', _engine: 'rabbitmq' },
  ])('%j is fine', (over) => {
    expect(() => checkUpstreamSettings(settings(over))).not.toThrow()
  })
})
