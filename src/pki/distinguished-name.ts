/**
 * A Name as one line of text (RFC 4514, formerly RFC 2253), for people and for headers. Whatever is special in any grammar around it is
 * written as a hex pair, which RFC 4514 §2.4 allows for every character: no quote, backslash at the end or separator survives.
 * Not for comparing names: names.ts.
 */

import { childrenOf, contentOf, derOf, oidOf, readDer, TAG, tagOf } from './der.ts'

const MAX_ATTRIBUTES = 32
const MAX_VALUE = 1_024

/** RFC 4514 §3, and the one that everybody writes by its name although it is not there. */
const KEYWORDS: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
}

const TEXT: ReadonlySet<number> = new Set([TAG.utf8String, TAG.printableString, TAG.ia5String])

const PLAIN = /^[A-Za-z0-9 ()*./:?@_~!$&'^`|{}[\]-]$/

const hexPair = (octet: number): string => `\\${octet.toString(16).toUpperCase().padStart(2, '0')}`

/** @param octets a string in ASCII or UTF-8 */
const escaped = (octets: Buffer): string => {
  let text = ''
  for (let at = 0; at < octets.length; at += 1) {
    const octet = octets[at] as number
    const character = String.fromCharCode(octet)
    const atEdge = (at === 0 || at === octets.length - 1) && character === ' '
    text += PLAIN.test(character) && !atEdge ? character : hexPair(octet)
  }
  return text
}

/** @returns the RDNs in reverse order, as RFC 4514 §2.1 has them; ASCII. @throws FleetError `bad_request` for what is not a Name */
export const distinguishedName = (der: Uint8Array): string =>
  childrenOf(readDer(der, 'name'), TAG.sequence, 'name', { max: MAX_ATTRIBUTES })
    .map((set) =>
      childrenOf(set, TAG.set, 'name', { min: 1, max: MAX_ATTRIBUTES })
        .map((attribute) => {
          const [typeNode, valueNode] = childrenOf(attribute, TAG.sequence, 'name', { min: 2, max: 2 })
          const oid = oidOf(typeNode, 'name')
          const keyword = KEYWORDS[oid]
          const tag = valueNode === undefined ? 0 : tagOf(valueNode)
          // RFC 4514 §2.4: what has no string form is written as its encoding
          if (keyword === undefined || !TEXT.has(tag))
            return `${keyword ?? oid}=#${derOf(valueNode as typeof attribute)
              .subarray(0, MAX_VALUE)
              .toString('hex')}`
          return `${keyword}=${escaped(contentOf(valueNode, tag, 'name').subarray(0, MAX_VALUE))}`
        })
        .join('+'),
    )
    .reverse()
    .join(',')
