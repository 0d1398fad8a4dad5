/**
 * What a worker says on the socket of the embedded broker before the CONNECT of a client, when its identity may have several connections: how many,
 * in two bytes. Without one it is one. A CONNECT begins with 0x10, so neither is taken for the other.
 */

const LONGEST = 0x0fff

export const PREFACE_BYTES = 2

/** @returns undefined: there is nothing to say */
export const makePreface = (connections: number): Buffer | undefined => {
  if (connections <= 1) return undefined
  const bytes = Buffer.alloc(PREFACE_BYTES)
  bytes.writeUInt16BE(Math.min(connections, LONGEST))
  return bytes
}

export const opensPreface = (first: number): boolean => first <= LONGEST >> 8

/** @param bytes two of them are there */
export const readPreface = (bytes: Buffer): number => bytes.readUInt16BE()
