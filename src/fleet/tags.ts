/** Tags of devices: short names with short values, for people and for policies. One check for every way that they come in. */

export type Tags = Readonly<Record<string, string>>

const MOST_TAGS = 32
/** Of a name. */
const TAG_NAME_PATTERN = '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'
const MOST_TAG_CHARACTERS = 256

const name = new RegExp(TAG_NAME_PATTERN)
/** They stand in log lines and tables. */
const control = /\p{Cc}/u

/** @returns what is wrong, in words that do not repeat the value; undefined: nothing */
export const tagsProblem = (tags: Tags): string | undefined => {
  const entries = Object.entries(tags)
  if (entries.length > MOST_TAGS) return `more than ${MOST_TAGS} tags`
  if (entries.some(([key]) => !name.test(key)))
    return 'a tag is called with 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit'
  if (entries.some(([, value]) => value.length > MOST_TAG_CHARACTERS || control.test(value)))
    return `the value of a tag has at most ${MOST_TAG_CHARACTERS} characters, and no control characters`
  return undefined
}
