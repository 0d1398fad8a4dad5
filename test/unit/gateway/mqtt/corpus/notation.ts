/**
 * Packets written down: `'MQTT' 05 02 003c [ 21 0001 ] 'a'`. Hex; `'text'`: with its two-byte length; `[ … ]`: with its length as a Variable Byte
 * Integer. It shares no code with what it tests.
 */

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))]

const token = (word: string): number[] => {
  if (!word.startsWith("'")) return [...Buffer.from(word, 'hex')]
  const text = Buffer.from(word.slice(1, -1))
  return [text.length >> 8, text.length & 0xff, ...text]
}

export const bytesOf = (notation: string): Buffer => {
  const stack: number[][] = [[]]
  for (const word of notation.split(/\s+/).filter((part) => part !== '')) {
    if (word === '[') stack.push([])
    else if (word === ']') {
      const inner = stack.pop() ?? []
      stack.at(-1)?.push(...varint(inner.length), ...inner)
    } else stack.at(-1)?.push(...token(word))
  }
  return Buffer.from(stack[0] ?? [])
}

/** A packet with its fixed header. @param first type and flags, hex */
export const packetOf = (first: string, body: string): Buffer => {
  const bytes = bytesOf(body)
  return Buffer.from([Number.parseInt(first, 16), ...varint(bytes.length), ...bytes])
}
