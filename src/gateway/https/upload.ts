/**
 * The body that a client uploads, as the origin gets it: bounded, no slower than it may be, and a little at a time, so that nobody's
 * upload stops the loop for the others. Not where it goes: forward.ts.
 */

import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { FleetError } from '#fleet/errors.ts'

/**
 * Taken per turn. A piece is a chunk as the client framed it, of up to a TLS record: 64 KiB for those who send fast, and a few octets for
 * those who make thousands of chunks out of one packet. Those wait in the request, which then stops reading, and not everybody else.
 */
const PIECES = 4

export type Upload = {
  readonly body: Readable
  /** Is it the client that is waited for, and not the origin? */
  waitsForClient(): boolean
  /** Lets go of the request: whoever resumes it then throws away the rest. */
  stop(): void
}

export type UploadLimits = {
  /** octets */
  readonly most: number
  /** octets in each `within` ms that the origin waits through; a client may not hold a connection with an octet now and then */
  readonly least: number
  readonly within: number
}

export const clientGone = new Error('the client is gone')

/** @param touch something has arrived */
export const upload = (request: IncomingMessage, limits: UploadLimits, touch: () => void): Upload => {
  let octets = 0
  let hungry = false
  let due = false

  const turn = (): void => {
    due = false
    if (!hungry || stopped) return
    const pieces: Buffer[] = []
    while (pieces.length < PIECES) {
      const piece = request.read() as Buffer | null
      if (piece === null) break
      pieces.push(piece)
    }
    const [first] = pieces
    if (first === undefined) return
    const chunk = pieces.length === 1 ? first : Buffer.concat(pieces)
    octets += chunk.length
    touch()
    if (octets > limits.most)
      fail(new FleetError('body_too_large', `the body is longer than ${limits.most} bytes`))
    else {
      hungry = body.push(chunk)
      if (hungry && request.readableLength > 0) schedule()
    }
  }
  const schedule = (): void => {
    if (due) return
    due = true
    setImmediate(turn)
  }
  const body = new Readable({
    read: () => {
      hungry = true
      schedule()
    },
  })

  let before = 0
  let waited = false
  const pace = setInterval(() => {
    // only a stretch in which the origin took whatever there was says something of the client
    if (waited && hungry && octets - before < limits.least)
      fail(new FleetError('request_timeout', `less than ${limits.least} bytes of the body arrived in time`))
    waited = hungry
    before = octets
  }, limits.within).unref()

  let stopped = false
  const onEnd = (): void => {
    stop()
    body.push(null)
  }
  const onClose = (): void => {
    stop()
    if (!request.complete) body.destroy(clientGone)
  }
  const stop = (): void => {
    if (stopped) return
    stopped = true
    clearInterval(pace)
    request.off('readable', schedule).off('end', onEnd).off('close', onClose)
  }
  const fail = (error: FleetError): void => {
    stop()
    body.destroy(error)
  }
  request.on('readable', schedule).on('end', onEnd).on('close', onClose)

  return { body, waitsForClient: () => hungry && !request.complete, stop }
}
