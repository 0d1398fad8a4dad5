import { describe, expect, it } from 'vitest'
import * as kinds from '#runtime/kinds.ts'

const context = { key: 'a.b', home: '/home' }
const size = kinds.size(0, 1024 ** 4, '')
const duration = kinds.duration(0, 10 ** 9, '')
const port = (host: string, at: number) => ({ host, port: at, key: 'a.b' })

describe('values', () => {
  it.each<[string, { parse: (text: string, c: typeof context) => unknown }, string, unknown]>([
    ['path', kinds.path, 'x/y', '/home/x/y'],
    ['path', kinds.path, '/x', '/x'],
    ['path', kinds.path, '', undefined],
    ['path', kinds.path, 'a\0b', undefined],
    ['listen', kinds.listen, '127.0.0.1:0', port('127.0.0.1', 0)],
    ['listen', kinds.listen, '[::1]:65535', port('::1', 65_535)],
    ['listen', kinds.listen, 'localhost:80', port('localhost', 80)],
    ['listen', kinds.listen, '::1:80', undefined],
    ['listen', kinds.listen, '[127.0.0.1]:80', undefined],
    ['listen', kinds.listen, '[localhost]:80', undefined],
    ['listen', kinds.listen, ':80', undefined],
    ['listen', kinds.listen, '80', undefined],
    ['listen', kinds.listen, 'a b:80', undefined],
    ['listen', kinds.listen, 'localhost:-1', undefined],
    ['listen', kinds.listen, 'http://localhost:80', undefined],
    ['size', size, '0', 0],
    ['size', size, '10B', 10],
    ['size', size, '4KiB', 4_096],
    ['size', size, '4KB', undefined],
    ['size', size, '1.5MiB', undefined],
    ['size', size, '1TiB', undefined],
    ['duration', duration, '1m30s', 90_000],
    ['duration', duration, '-1s', undefined],
    ['duration', duration, '13d', undefined],
    ['share', kinds.share, '0.95', 0.95],
    ['share', kinds.share, '1', 1],
    ['share', kinds.share, '0', 0],
    ['share', kinds.share, '1.01', undefined],
    ['share', kinds.share, '-0.5', undefined],
    ['share', kinds.share, '95%', undefined],
    ['share', kinds.share, '1e-3', undefined],
    ['integer', kinds.integer(1, 10), '10', 10],
    ['integer', kinds.integer(1, 10), '11', undefined],
    ['integer', kinds.integer(1, 10), '0x1', undefined],
    ['integer', kinds.integer(1, 10), '1.0', undefined],
    ['choice', kinds.choice('a', 'b'), 'b', 'b'],
    ['choice', kinds.choice('a', 'b'), 'B', undefined],
    ['http', kinds.httpBase, 'http://Status.Test:80/pki/', 'http://status.test/pki'],
    ['http', kinds.httpBase, 'http://status.test', 'http://status.test'],
    ['http', kinds.httpBase, 'https://status.test', undefined],
    ['http', kinds.httpBase, 'http://status.test/?x', undefined],
    ['http', kinds.httpBase, 'http://u:p@status.test', undefined],
    ['http', kinds.httpBase, 'status.test', undefined],
    ['https', kinds.httpsBase, 'https://e.test:8443', 'https://e.test:8443'],
    ['https', kinds.httpsBase, 'http://e.test', undefined],
    ['gateways', kinds.gatewayIds, 'gateway', ['gateway']],
    ['gateways', kinds.gatewayIds, 'gw-1, gw-2', ['gw-1', 'gw-2']],
    ['gateways', kinds.gatewayIds, '', undefined],
    ['gateways', kinds.gatewayIds, 'gw-1,', undefined],
    ['gateways', kinds.gatewayIds, 'GW-1', undefined],
    ['gateways', kinds.gatewayIds, 'urn:sallyport:gateway:gw-1', undefined],
    ['hostname', kinds.hostname, 'mqtt.e.test', 'mqtt.e.test'],
    ['hostname', kinds.hostname, 'MQTT.e.test', undefined],
    ['hostname', kinds.hostname, 'e.test.', undefined],
    ['hostname', kinds.hostname, '10.0.0.1', undefined],
    ['hostname', kinds.hostname, 'e.test:1', undefined],
  ])('%s %#: %s', (_, kind, text, expected) => {
    expect(kind.parse(text, context)).toEqual(expected)
  })
})
