/**
 * Host names as an administrator writes them. An anchor has names, for it is chosen by SNI, before there is a path; an application may also
 * have patterns, with one `*` in a label. Not the matching: #policy.
 */

import { domainToASCII } from 'node:url'
import { readHostPattern } from '#policy/access.ts'
import { bad, once } from '../reading.ts'

const WHERE = 'hostnames'
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
/** what stands for any run of characters must leave a name that could be one */
const STAR = 'x'

/** The A-labels (RFC 5891 §4.4) of what was written in another script; undefined: there are none. */
const asciiOf = (name: string): string | undefined => {
  // a star among letters of another script has no spelling in ASCII: punycode is of the whole label
  const mixed = name
    .split('.')
    .some((label) => label !== '*' && label.includes('*') && /[^\0-\x7f]/.test(label))
  const ascii = mixed ? '' : domainToASCII(name)
  return ascii === '' ? undefined : ascii
}

/** A DNS name as SNI carries it (RFC 6066 §3: no address, no trailing dot, A-labels). */
const checkName = (written: string, name: string): void => {
  const labels = name.split('.')
  if (name.length > 253 || !labels.every((label) => LABEL.test(label)))
    throw bad(
      WHERE,
      `${written} is not a host name (letters, digits and - between dots; no port, no trailing dot)`,
    )
  // A name whose last label is a number would be read as an address (WHATWG URL, "ends in a number").
  if (/^\d+$/.test(labels.at(-1) as string))
    throw bad(WHERE, `${written} is an address; TLS clients do not send addresses as a server name`)
}

const checkSpelling = (name: string): void => {
  // eslint-disable-next-line no-control-regex
  if (/[^\0-\x7f]/.test(name)) {
    const ascii = asciiOf(name)
    throw bad(
      WHERE,
      ascii === undefined
        ? `${name} is not ASCII: write it as clients send it (xn--…)`
        : `${name} is not ASCII: write ${ascii}, as clients send it`,
    )
  }
  if (name !== name.toLowerCase()) throw bad(WHERE, `write ${name.toLowerCase()} in lower case`)
}

const checkPattern = (pattern: string): void => {
  if ((pattern.split('.').at(-1) as string).includes('*'))
    throw bad(WHERE, `${pattern}: the last label has no *; write *.example.com`)
  const crowded = pattern.split('.').find((label) => label.split('*').length > 2)
  if (crowded !== undefined)
    throw bad(WHERE, `${pattern}: a label has one * at most, and ${crowded} has more`)
  checkName(pattern, pattern.replaceAll('*', STAR))
  if (readHostPattern(pattern) === undefined)
    throw bad(WHERE, `${pattern} is not a pattern of host names: write api.example.com or *.example.com`)
}

/** Of an anchor. @throws FleetError `bad_request` */
export const readNames = (names: readonly string[]): readonly string[] => {
  for (const name of names) {
    checkSpelling(name)
    if (name.includes('*'))
      throw bad(WHERE, `${name} is a pattern, and an anchor has names only: list each hostname`)
    checkName(name, name)
  }
  return once(WHERE, names)
}

/** Of an application. @throws FleetError `bad_request` */
export const readPatterns = (patterns: readonly string[]): readonly string[] => {
  for (const pattern of patterns) {
    checkSpelling(pattern)
    checkPattern(pattern)
  }
  return once(WHERE, patterns)
}
