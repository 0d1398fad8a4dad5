/** The Extensions of a CSR, a certificate or a CRL (RFC 5280 §4.2): read into a map, written one by one. Not what is in them. */

import {
  booleanOf,
  childrenOf,
  contentOf,
  oidDer,
  oidOf,
  readDer,
  refuse,
  TAG,
  tlv,
  type Node,
} from './der.ts'

const MAX_EXTENSIONS = 48

export type Extension = { readonly critical: boolean; readonly value: Buffer }
export type Extensions = ReadonlyMap<string, Extension>

/** @param node the SEQUENCE OF Extension. A second one of the same type is refused (RFC 5280 §4.2). */
export const readExtensions = (node: Node | undefined, what: string): Extensions => {
  const found = new Map<string, Extension>()
  for (const extension of childrenOf(node, TAG.sequence, what, { min: 1, max: MAX_EXTENSIONS })) {
    const parts = childrenOf(extension, TAG.sequence, what, { min: 2, max: 3 })
    const oid = oidOf(parts[0], what)
    // FALSE is the default and not to be written (X.690 §11.5); some CAs do, and no reader takes it for anything else
    const critical = parts.length === 3 && booleanOf(parts[1], what)
    if (found.has(oid)) refuse(what, `has extension ${oid} twice`)
    found.set(oid, { critical, value: contentOf(parts.at(-1), TAG.octetString, what) })
  }
  return found
}

/** The parsed value of one; undefined when it is absent. */
export const extensionNode = (extensions: Extensions, oid: string, what: string): Node | undefined => {
  const found = extensions.get(oid)
  return found === undefined ? undefined : readDer(found.value, what)
}

const TRUE = tlv(TAG.boolean, Buffer.of(0xff))

export const extensionDer = (oid: string, critical: boolean, value: Uint8Array): Buffer =>
  tlv(TAG.sequence, oidDer(oid), ...(critical ? [TRUE] : []), tlv(TAG.octetString, value))
