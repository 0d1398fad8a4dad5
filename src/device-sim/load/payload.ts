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

export type Said = { readonly device: string; readonly seq: number; readonly sent: number }

/** What has to be said stands in the first few octets. */
const HEAD = 192
const shape = /^\{"device":"([A-Za-z0-9._~:-]{1,64})","seq": {0,12}(\d{1,15}),"sent":(\d{1,15}\.\d{3})[,}]/

/** @returns undefined: not one of ours */
export const readMessage = (payload: Buffer): Said | undefined => {
  const [, device, seq, sent] = shape.exec(payload.toString('latin1', 0, HEAD)) ?? []
  return device === undefined ? undefined : { device, seq: Number(seq), sent: Number(sent) }
}

/** Many messages of one device at once: copies of one template, with the number written into each. */
export type BurstWriter = (firstSeq: number, count: number, sent: number) => Buffer[]

const ZERO = 0x30
const SPACE = 0x20

export const burstWriter = (device: string, size: number): BurstWriter => {
  const head = `{"device":"${device}","seq":`
  const middle = ',"sent":'
  const line = `${head}${' '.repeat(COUNT)}${middle}${' '.repeat(MILLIS)}`
  const template = Buffer.from(padding(line, size), 'latin1')
  const seqEnds = head.length + COUNT
  const sentAt = seqEnds + middle.length
  const { length } = template
  return (firstSeq, count, sent) => {
    template.write(sent.toFixed(3).padStart(MILLIS), sentAt, 'latin1')
    const all = Buffer.allocUnsafe(length * count)
    const parts: Buffer[] = []
    for (let at = 0; at < count; at++) {
      const begins = at * length
      template.copy(all, begins)
      let rest = firstSeq + at
      let digit = begins + seqEnds
      for (; rest > 0; rest = Math.floor(rest / 10)) all[--digit] = ZERO + (rest % 10)
      while (digit > begins + head.length) all[--digit] = SPACE
      parts.push(all.subarray(begins, begins + length))
    }
    return parts
  }
}
