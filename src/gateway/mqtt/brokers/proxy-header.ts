/**
 * The PROXY protocol's binary header, version 2, as a broker reads it before all else on a connection: where the client is and whose
 * certificate it showed. Written, never read: the doors take none.
 * The PROXY protocol, versions 1 & 2 (Willy Tarreau), §2.2.
 */

import { isIPv4, isIPv6 } from 'node:net'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const COMMAND = { local: 0x20, proxy: 0x21 } as const
/** Address family and transport, and the length of two addresses and two ports. */
const FAMILY = { unspecified: [0x00, 0], tcp4: [0x11, 12], tcp6: [0x21, 36] } as const

const TLV_SSL = 0x20
const SUBTYPE_CN = 0x22
/** PP2_CLIENT_SSL | PP2_CLIENT_CERT_CONN: TLS, and a certificate shown on this very connection. */
const CLIENT = 0x01 | 0x02
const VERIFIED = 0

const tlv = (type: number, value: Uint8Array): Buffer => {
  const header = Buffer.of(type, 0, 0)
  header.writeUInt16BE(value.length, 1)
  return Buffer.concat([header, value])
}

const ssl = (commonName: string): Buffer => {
  const fixed = Buffer.alloc(5)
  fixed.writeUInt8(CLIENT, 0)
  fixed.writeUInt32BE(VERIFIED, 1)
  return tlv(TLV_SSL, Buffer.concat([fixed, tlv(SUBTYPE_CN, Buffer.from(commonName))]))
}

const header = (
  command: number,
  [family]: (typeof FAMILY)[keyof typeof FAMILY],
  rest: Uint8Array,
): Buffer => {
  const fixed = Buffer.of(command, family, 0, 0)
  fixed.writeUInt16BE(rest.length, 2)
  return Buffer.concat([SIGNATURE, fixed, rest])
}

const groups = (text: string): number[] =>
  text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))

/** 16 octets of an IPv6 address, whose last 32 bits may be dotted. */
const octets6 = (address: string): Buffer => {
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...four: string[]) => {
    const [a, b, c, d] = four.map(Number) as [number, number, number, number]
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  })
  const [head = '', tail] = plain.split('::')
  const [before, after] = [groups(head), tail === undefined ? [] : groups(tail)]
  const octets = Buffer.alloc(16)
  for (const [at, group] of before.entries()) octets.writeUInt16BE(group, 2 * at)
  for (const [at, group] of after.entries()) octets.writeUInt16BE(group, 16 - 2 * (after.length - at))
  return octets
}

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** Source; the destination and both ports are not known here, and are zero. */
const addresses = (written: string): readonly [(typeof FAMILY)[keyof typeof FAMILY], Buffer] => {
  const bare = written.replace(/%.*$/, '')
  const address = MAPPED.exec(bare)?.[1] ?? bare
  if (isIPv4(address)) {
    const octets = Buffer.alloc(FAMILY.tcp4[1])
    octets.set(address.split('.').map(Number), 0)
    return [FAMILY.tcp4, octets]
  }
  if (!isIPv6(address)) return [FAMILY.unspecified, Buffer.alloc(0)]
  const octets = Buffer.alloc(FAMILY.tcp6[1])
  octets.set(octets6(address), 0)
  return [FAMILY.tcp6, octets]
}

/** Of a connection that the door makes for itself: whoever reads it takes the connection as it is. */
export const localHeader = (): Buffer => header(COMMAND.local, FAMILY.unspecified, Buffer.alloc(0))

/**
 * @param o.address of the client. undefined: it is the door itself.
 * @param o.identity stands as the common name of a verified certificate
 */
export const proxyHeader = (o: {
  readonly address: string | undefined
  readonly identity: string
}): Buffer => {
  if (o.address === undefined) return localHeader()
  const [family, octets] = addresses(o.address)
  return header(COMMAND.proxy, family, Buffer.concat([octets, ssl(o.identity)]))
}
