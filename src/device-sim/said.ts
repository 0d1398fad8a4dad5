/** What a target said, before it becomes evidence, an error or a key to count under. Not what a person reads in the end: that is report/. */

import { clipped, printable } from './plain-text.ts'

/** UTF-16 units of a text, and of a word */
const LONGEST = 512
const WORD = 64

/** Bounded, in one line, and nothing in it moves a cursor. */
export const said = (text: string, most = LONGEST): string =>
  clipped(printable(text.slice(0, most + 1)), most)

/** A reason: `[a-z0-9_]`, as all of ours are; anything else is `no_word`. */
export const wordSaid = (reason: string): string =>
  reason.length <= WORD && /^[a-z0-9_]+$/.test(reason) ? reason : 'no_word'
