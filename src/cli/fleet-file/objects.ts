/**
 * The objects of a JSON array or of NDJSON, one after the other, without holding the file: what is kept is the object being read.
 * Finds where objects begin and end, and that an array is whole; JSON.parse says whether an object is any good.
 */

import { FleetError } from '#fleet/errors.ts'

/** Characters of one object. */
const MOST = 65_536

const bad = (at: number, what: string): FleetError =>
  new FleetError('config_invalid', `object ${at}: ${what}`)

/** What may stand between objects. `first`: nothing was read yet; `lines`: NDJSON; the others are places in an array. */
type Place = 'first' | 'lines' | 'opened' | 'after' | 'comma' | 'closed'

const NEXT: Readonly<Record<Place, Readonly<Record<string, Place>>>> = {
  first: { '[': 'opened', '{': 'lines' },
  lines: { '{': 'lines' },
  opened: { '{': 'after', ']': 'closed' },
  after: { ',': 'comma', ']': 'closed' },
  comma: { '{': 'after' },
  closed: {},
}
const SPACE = /^[\s\uFEFF]$/u

/** @yields the text of each object. @throws FleetError `config_invalid`, with the number of the object */
export const objectTexts = async function* (chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let place: Place = 'first'
  let text = ''
  let depth = 0
  let quoted = false
  let escaped = false
  let count = 1
  for await (const chunk of chunks) {
    let start = 0
    for (let at = 0; at < chunk.length; at += 1) {
      const char = chunk[at] as string
      if (depth === 0) {
        if (SPACE.test(char)) continue
        const next: Place | undefined = NEXT[place][char]
        if (next === undefined) throw bad(count, 'expected a JSON array of objects, or one object a line')
        place = next
        if (char === '{') [depth, start] = [1, at]
      } else if (escaped) escaped = false
      else if (quoted) {
        if (char === '\\') escaped = true
        else if (char === '"') quoted = false
      } else if (char === '"') quoted = true
      else if (char === '{') depth += 1
      else if (char === '}') {
        depth -= 1
        if (depth === 0) {
          yield text + chunk.slice(start, at + 1)
          text = ''
          count += 1
        }
      }
    }
    if (depth > 0) {
      text += chunk.slice(start)
      if (text.length > MOST) throw bad(count, `longer than ${MOST} characters`)
    }
  }
  if (depth > 0) throw bad(count, 'the file ends inside it')
  if (place !== 'first' && place !== 'lines' && place !== 'closed')
    throw bad(count, 'the file ends before the array does')
}
