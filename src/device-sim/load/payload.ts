/**
 * What simulated devices send: a line of JSON that says who, the how-many-eth and when, padded to the size that the scenario asks for. Read
 * again by the device that hears its own: with care, for anybody may have sent it.
 */

/** Of the whole milliseconds and three digits of the fraction: a number of as many octets for the next two hundred years. */
const MILLIS = 17
/** octets of a number of a burst, right-aligned: JSON allows the spaces before it (RFC 8259 §2) */
const COUNT = 12

const padding = (line: string, size: number): string => {
  const empty = ',"pad":""}'
  const missing = size - (line.length + empty.length)
  return missing < 0 ? `${line}}` : `${line},"pad":"${'.'.repeat(missing)}"}`
}

/**
 * @param sent ms since the epoch
 * @param size octets; what has to be said is never cut short for it
 */
export const messageOf = (device: string, seq: number, sent: number, size: number): string =>
  padding(`{"device":"${device}","seq":${seq},"sent":${sent.toFixed(3)}`, size)

/** octets of the first messages of a device of ours: fewer are never sent */
export const leastPayload = (): number => messageOf('sim-00000000-0001', 1, 1e12, 0).length

export type Said = { readonly device: string; readonly seq: number; readonly sent: number }

/** What has to be said stands in the first few octets. */
const HEAD = 192
const shape = /^\{"device":"([A-Za-z0-9._~:-]{1,64})","seq": {0,12}(\d{1,15}),"sent":(\d{1,15}\.\d{3})[,}]/

/** @returns undefined: not one of ours */
export const readMessage = (payload: Buffer): Said | undefined => {
  const [, device, seq, sent] = shape.exec(payload.toString('latin1', 0, HEAD)) ?? []
  return device === undefined ? undefined : { device, seq: Number(seq), sent: Number(sent) }
}

/** Many messages of one device at once: copies of one template, with number and time written into each. @param dues ms since the epoch, of each; not of its first ten seconds */
export type BurstWriter = (firstSeq: number, dues: readonly number[]) => Buffer[]

const ZERO = 0x30
/** µs: what is written into each message; what is above is the same for all but one in many, and stands in the template */
const LOW = 10_000_000
/** digits of them after and before the point */
const FRACTION = 3
const WHOLE = 4

export const burstWriter = (device: string, size: number): BurstWriter => {
  const head = `{"device":"${device}","seq":`
  const middle = ',"sent":'
  const line = `${head}${' '.repeat(COUNT)}${middle}${' '.repeat(MILLIS)}`
  const template = Buffer.from(padding(line, size), 'latin1')
  const seqEnds = head.length + COUNT
  const sentEnds = seqEnds + middle.length + MILLIS
  const { length } = template
  let high = -1

  const digits = (all: Buffer, ends: number, count: number, value: number): number => {
    let rest = value
    for (let at = ends - 1; at >= ends - count; at--) {
      all[at] = ZERO + (rest % 10)
      // below LOW: whole numbers of 31 bits, of which no double has to be made
      rest = (rest / 10) | 0
    }
    return rest
  }
  return (firstSeq, dues) => {
    const all = Buffer.allocUnsafe(length * dues.length)
    return dues.map((due, at) => {
      const micros = Math.round(due * 1_000)
      const above = Math.floor(micros / LOW)
      if (above !== high) {
        high = above
        template.write(
          (above * (LOW / 1_000)).toFixed(FRACTION).padStart(MILLIS),
          sentEnds - MILLIS,
          'latin1',
        )
      }
      const begins = at * length
      template.copy(all, begins)
      let rest = firstSeq + at
      let digit = begins + seqEnds
      for (; rest > 0; rest = Math.floor(rest / 10)) all[--digit] = ZERO + (rest % 10)
      // below a µs nothing is said, as in a single message
      const ends = begins + sentEnds
      const whole = digits(all, ends, FRACTION, micros - above * LOW)
      digits(all, ends - FRACTION - 1, WHOLE, whole)
      return all.subarray(begins, begins + length)
    })
  }
}
