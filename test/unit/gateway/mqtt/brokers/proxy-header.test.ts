import { describe, expect, test } from 'vitest'
import { localHeader, proxyHeader } from '#gateway/mqtt/brokers/proxy-header.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
/** PP2_TYPE_SSL of 8 + 6 octets: client 3, verify 0, and the common name "lamp-1" */
const SSL_LAMP = '20000e' + '0300000000' + '220006' + Buffer.from('lamp-1').toString('hex')
const V4 = (address: string) => `${SIGNATURE}2111001d${address}${'00'.repeat(8)}${SSL_LAMP}`
const V6 = (address: string) => `${SIGNATURE}21210035${address}${'00'.repeat(20)}${SSL_LAMP}`

describe('the PROXY header says where a client is, and who', () => {
  test.each([
    ['192.0.2.1', V4('c0000201')],
    ['::ffff:192.0.2.1', V4('c0000201')],
    ['2001:db8::1', V6('20010db8000000000000000000000001')],
    ['fe80::1%eth0', V6('fe800000000000000000000000000001')],
    ['::', V6('00'.repeat(16))],
    ['1:2:3:4:5:6:7:8', V6('00010002000300040005000600070008')],
    ['64:ff9b::192.0.2.33', V6('0064ff9b0000000000000000c0000221')],
    ['not an address', `${SIGNATURE}21000011${SSL_LAMP}`],
  ])('%s', (address, expected) => {
    expect(proxyHeader({ address, identity: 'lamp-1' }).toString('hex')).toBe(expected)
  })

  test('a connection of the door itself is LOCAL, without addresses or a name', () => {
    expect(localHeader().toString('hex')).toBe(`${SIGNATURE}20000000`)
    expect(proxyHeader({ address: undefined, identity: 'x' })).toEqual(localHeader())
  })

  test('a name of another language counts in octets', () => {
    const header = proxyHeader({ address: '192.0.2.1', identity: 'anchor/größe' })
    expect(header.readUInt16BE(14)).toBe(header.length - 16)
    expect(header.subarray(-14).toString()).toBe('anchor/größe')
    expect(header.readUInt16BE(header.length - 16)).toBe(14)
  })
})
