/** What a target said, before it becomes evidence or an error. Not what it is counted under: words.ts; nor what a person reads in the end: report/. */

import { clipped, printable } from './plain-text.ts'

/** UTF-16 units */
const LONGEST = 512

/** Bounded, in one line, and nothing in it moves a cursor. */
export const said = (text: string, most = LONGEST): string =>
  clipped(printable(text.slice(0, most + 1)), most)
