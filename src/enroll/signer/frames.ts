/**
 * How messages travel on the socket: a length of 4 octets, big-endian, then as many of JSON in UTF-8. Bytes only; what the JSON may say
 * is #wire/signer.ts.
 */

import { isUtf8 } from 'node:buffer'
import type { Socket } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import { MAX_SIGNER_FRAME } from '#wire/signer.ts'

const HEAD = 4
const MOST_PIECES = 64

export const frameOf = (message: object): Buffer => {
  const text = JSON.stringify(message)
  const length = Buffer.byteLength(text)
  if (length > MAX_SIGNER_FRAME) throw new FleetError('internal', 'a message larger than a frame')
  const frame = Buffer.allocUnsafe(HEAD + length)
  frame.writeUInt32BE(length)
  frame.write(text, HEAD)
  return frame
}

export type FrameReader = {
  /**
   * The texts of the frames that are whole now; never holds more than one frame and one chunk.
   * @throws bad_request: an empty frame, one that is too large, or not UTF-8. Nothing can be read after it
   */
  push(chunk: Buffer): readonly string[]
  /** a frame has begun and has not ended */
  readonly isPartial: boolean
}

/** @throws bad_request: nobody sends a frame of that length */
const sound = (length: number): number => {
  if (length === 0 || length > MAX_SIGNER_FRAME)
    throw new FleetError('bad_request', `a frame of ${length} bytes`)
  return length
}

export const createFrameReader = (): FrameReader => {
  // put together when a frame is whole: octets that come one by one are not copied each time
  let pieces: Buffer[] = []
  let size = 0
  let wanted = HEAD
  return {
    get isPartial() {
      return size > 0
    },
    push(chunk) {
      pieces.push(chunk)
      size += chunk.length
      // nor kept each by itself, which costs more than what is in it
      if (pieces.length > MOST_PIECES) pieces = [Buffer.concat(pieces)]
      const texts: string[] = []
      while (size >= wanted) {
        const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
        let at = 0
        wanted = HEAD
        while (bytes.length - at >= HEAD) {
          const end = at + HEAD + sound(bytes.readUInt32BE(at))
          wanted = end - at
          if (bytes.length < end) break
          const body = bytes.subarray(at + HEAD, end)
          if (!isUtf8(body)) throw new FleetError('bad_request', 'a frame that is not UTF-8')
          texts.push(body.toString('utf8'))
          at = end
          wanted = HEAD
        }
        pieces = at < bytes.length ? [bytes.subarray(at)] : []
        size = bytes.length - at
      }
      return texts
    },
  }
}

/** Resolves when the socket takes more, or has ended. */
export const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
