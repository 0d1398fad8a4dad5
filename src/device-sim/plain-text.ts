/** Text that others wrote, made harmless: bounded, and nothing in it moves a cursor or turns round what stands beside it. No markup: report/html escapes. */

/** What comes from outside may be of any length. */
export const clipped = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`

// controls, and what turns round the text beside it
const UNSEEN = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/gu

/** For a terminal: what others wrote is not to move the cursor. */
export const printable = (text: string): string => text.toWellFormed().replace(UNSEEN, '?')
