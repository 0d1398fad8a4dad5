/**
 * Distinguished names and general names, as a CSR and a certificate share them. Reads; the one Name it writes is the device's.
 * A name with a NUL, a control character or a second common name is refused: two readers would see two names.
 */

import { FleetError } from '#fleet/errors.ts'
import {
  childrenOf,
  contentOf,
  implicitTag,
  oidDer,
  oidOf,
  readDer,
  refuse,
  sameBytes,
  TAG,
  tagOf,
  tlv,
  utf8Der,
  type Node,
} from './der.ts'
import { OID } from './oids.ts'

const MAX_ATTRIBUTES = 32
const MAX_NAMES = 100
const MAX_TEXT = 1_024

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/
const ASCII = /^[\u0020-\u007e]*$/

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const ascii = (octets: Buffer): string | undefined => {
  const text = octets.toString('latin1')
  return ASCII.test(text) ? text : undefined
}

/** The string types we read. Others (T61, BMP, Universal) have several readings in the wild. */
const DECODERS: Readonly<Record<number, (octets: Buffer) => string | undefined>> = {
  [TAG.utf8String]: (octets) => {
    try {
      return utf8.decode(octets)
    } catch {
      return undefined
    }
  },
  [TAG.printableString]: ascii,
  [TAG.ia5String]: ascii,
}

const textOf = (node: Node, what: string): string | undefined => {
  const tag = tagOf(node)
  const decode = DECODERS[tag]
  if (decode === undefined) return undefined
  const octets = contentOf(node, tag, what)
  if (octets.length > MAX_TEXT) return refuse(what, 'is too long')
  const text = decode(octets)
  if (text === undefined || CONTROL.test(text)) return refuse(what, 'holds a character that is not allowed')
  return text
}

/** RFC 5280 §4.1.2.4. @returns the common name; undefined when there is none, or it is of a string type that we do not read */
export const commonNameOf = (name: Node | undefined, what: string): string | undefined => {
  let commonName: string | undefined
  let seen = 0
  let commonNames = 0
  for (const set of childrenOf(name, TAG.sequence, what, { max: MAX_ATTRIBUTES }))
    for (const attribute of childrenOf(set, TAG.set, what, { min: 1, max: MAX_ATTRIBUTES })) {
      seen += 1
      if (seen > MAX_ATTRIBUTES) refuse(what, 'has too many attributes')
      const [typeNode, valueNode] = childrenOf(attribute, TAG.sequence, what, { min: 2, max: 2 })
      const text = textOf(valueNode as Node, what)
      if (oidOf(typeNode, what) !== OID.commonName) continue
      commonNames += 1
      if (commonNames > 1) refuse(what, 'has more than one common name')
      commonName = text
    }
  return commonName
}

/**
 * RFC 5280 §7.1, but for case and spaces, which we do not fold: the same attributes in the same order with the same text, whichever
 * string type each side wrote. Names of other string types are the same only byte for byte. @throws bad_request
 */
export const sameName = (a: Uint8Array, b: Uint8Array): boolean => {
  if (sameBytes(a, b)) return true
  const [one, other] = [attributesOf(a), attributesOf(b)]
  return one.length === other.length && one.every((text, at) => text !== undefined && text === other[at])
}

/** `<RDN>/<type>=<text>`; undefined for what we do not read. */
const attributesOf = (name: Uint8Array): (string | undefined)[] =>
  childrenOf(readDer(name, 'name'), TAG.sequence, 'name', { max: MAX_ATTRIBUTES }).flatMap((set, rdn) =>
    childrenOf(set, TAG.set, 'name', { max: MAX_ATTRIBUTES }).map((attribute) => {
      const [typeNode, valueNode] = childrenOf(attribute, TAG.sequence, 'name', { min: 2, max: 2 })
      const text = textOf(valueNode as Node, 'name')
      return text === undefined ? undefined : `${rdn}/${oidOf(typeNode, 'name')}=${text}`
    }),
  )

/**
 * The text of the one attribute of that type. undefined: there is none, more than one (two readers would see two names), or it is of a
 * string type that we do not read. @throws bad_request
 */
export const attributeOf = (name: Uint8Array, oid: string): string | undefined => {
  const found = childrenOf(readDer(name, 'name'), TAG.sequence, 'name', { max: MAX_ATTRIBUTES })
    .flatMap((set) => childrenOf(set, TAG.set, 'name', { max: MAX_ATTRIBUTES }))
    .map((attribute) => childrenOf(attribute, TAG.sequence, 'name', { min: 2, max: 2 }))
    .filter(([typeNode]) => oidOf(typeNode, 'name') === oid)
  return found.length === 1 ? textOf(found[0]?.[1] as Node, 'name') : undefined
}

export type GeneralNames = {
  readonly uris: readonly string[]
  readonly dns: readonly string[]
  /** how many of the types that we do not read */
  readonly others: number
}
export const NO_NAMES: GeneralNames = { uris: [], dns: [], others: 0 }

const DNS = implicitTag(2)
const URI = implicitTag(6)

/** RFC 5280 §4.2.1.6. @param min 1 in a certificate; strongSwan asks for none in a request when it cannot write what it was given */
export const generalNamesOf = (node: Node, what: string, min: 0 | 1): GeneralNames => {
  const uris: string[] = []
  const dns: string[] = []
  let others = 0
  for (const name of childrenOf(node, TAG.sequence, what, { min, max: MAX_NAMES })) {
    const tag = tagOf(name)
    if (tag !== DNS && tag !== URI) {
      others += 1
      continue
    }
    const octets = contentOf(name, tag, what)
    const text = octets.length > MAX_TEXT ? undefined : ascii(octets)
    if (text === undefined || text === '')
      return refuse(what, 'holds a name that is empty, too long or not printable ASCII')
    ;(tag === DNS ? dns : uris).push(text)
  }
  return { uris, dns, others }
}

export const uriDer = (uri: string): Buffer => {
  if (!ASCII.test(uri) || uri.length > MAX_TEXT)
    throw new FleetError('internal', 'a URI is not printable ASCII')
  return tlv(URI, Buffer.from(uri, 'ascii'))
}

/** SAN dNSName; its grammar is the caller's. */
export const dnsDer = (name: string): Buffer => {
  if (!ASCII.test(name) || name.length > MAX_TEXT)
    throw new FleetError('internal', 'a DNS name is not printable ASCII')
  return tlv(DNS, Buffer.from(name, 'ascii'))
}

/** UTF8String throughout: `~` and `_` are not PrintableString, and one type for all is one rule. */
export const nameDer = (attributes: readonly { readonly oid: string; readonly text: string }[]): Buffer =>
  tlv(
    TAG.sequence,
    ...attributes.map(({ oid, text }) => tlv(TAG.set, tlv(TAG.sequence, oidDer(oid), utf8Der(text)))),
  )
