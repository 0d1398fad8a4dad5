/**
 * A second reader of DER, for properties: knows X.690's rules of length and of a few types, and nothing of how ours reads. Recursive, and
 * trusts the size of what it is given.
 */

export type Element = {
  readonly tag: number
  readonly content: Buffer
  readonly children: readonly Element[]
}

const fail = (why: string): never => {
  throw new Error(why)
}

/** X.690 §10.1: the shortest definite form. @returns [octets of the head, length of the content] */
const headAt = (der: Buffer, at: number): readonly [number, number] => {
  const first = der[at + 1] ?? fail('no length')
  if (first < 0x80) return [2, first]
  const octets = first & 0x7f
  if (octets === 0) return fail('an indefinite length')
  if (octets > 4 || at + 2 + octets > der.length) return fail('a length that is too long')
  const length = der.readUIntBE(at + 2, octets)
  if (length < 0x80 || der[at + 2] === 0) return fail('a length that is not the shortest')
  return [2 + octets, length]
}

const checkContent = (tag: number, content: Buffer): void => {
  const [first, second] = content
  if (tag === 0x01 && !(content.length === 1 && (first === 0 || first === 0xff))) fail('a BOOLEAN')
  if (tag === 0x02 || tag === 0x0a) {
    if (first === undefined) fail('an empty INTEGER')
    // X.690 §8.3.2: the first nine bits are not all alike
    if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
      fail('a long INTEGER')
  }
  if (tag === 0x05 && content.length > 0) fail('a NULL with content')
  if (tag === 0x06 && (content.length === 0 || (content.at(-1) as number) >= 0x80)) fail('an OID')
}

const elementsIn = (der: Buffer): Element[] => {
  const found: Element[] = []
  for (let at = 0; at < der.length;) {
    const tag = der[at] as number
    if ((tag & 0x1f) === 0x1f) fail('a long tag')
    const [head, length] = headAt(der, at)
    const content = der.subarray(at + head, at + head + length)
    if (content.length < length) fail('content that ends too soon')
    const constructed = (tag & 0x20) !== 0
    // a SEQUENCE or SET is constructed, every other universal type that X.509 uses is not (§10.2)
    if (tag < 0x40 && ((tag & 0x1f) === 0x10 || (tag & 0x1f) === 0x11) !== constructed)
      fail('a constructed string')
    checkContent(tag, content)
    found.push({ tag, content, children: constructed ? elementsIn(content) : [] })
    at += head + length
  }
  return found
}

/** @throws what is wrong with it */
export const readStrictly = (der: Uint8Array): Element => {
  const [first, ...more] = elementsIn(Buffer.from(der))
  if (first === undefined || more.length > 0) return fail('not exactly one element')
  return first
}
