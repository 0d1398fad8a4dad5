/**
 * Where a session token is presented, `CF_Authorization` in Cookie or the field `cf-access-token`, and the Set-Cookie that makes a client
 * keep or forget it (RFC 6265). Not the token. What is taken off on the way to the origin, in any spelling, is #gateway/https/spoofs.ts.
 */

import type { Application } from '#fleet/access.ts'
import type { SameSite, SessionChoice } from '#fleet/session.ts'

const COOKIE_NAME = 'CF_Authorization'
const PREFIX = `${COOKIE_NAME}=`
const FIELD_NAME = 'cf-access-token'

/** RFC 6265 §6.1: name, value and attributes that every client keeps. */
const MAX_COOKIE = 4_096

/** Values of one field, as they came; its name in lower case. */
export const fieldsOf = (rawHeaders: readonly string[], name: string): readonly string[] => {
  const values: string[] = []
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const field = rawHeaders[at] as string
    if (field.length === name.length && field.toLowerCase() === name)
      values.push(rawHeaders[at + 1] as string)
  }
  return values
}

/** A browser shows one cookie for each path that it has one for (RFC 6265 §5.4): so many applications may lie within each other. */
const MOST_TOKENS = 4

/** Only under the very name: no parser is asked what another spelling means. */
const cookiesOf = (cookie: string): readonly string[] =>
  cookie.includes(PREFIX)
    ? cookie
        .split(';')
        .map((pair) => pair.replace(/^[ \t]+/, ''))
        .filter((pair) => pair.startsWith(PREFIX))
        .map((pair) => pair.slice(PREFIX.length))
    : []

/** An empty value alone is a cookie that was to be forgotten; beside another one somebody may read it in place of that. */
const tokensIn = (cookies: readonly string[]): readonly string[] | 'ambiguous' => {
  if (cookies.length === 1 && cookies[0] === '') return []
  const isOneTwice = new Set(cookies).size < cookies.length
  return cookies.length > MOST_TOKENS || isOneTwice || cookies.includes('') ? 'ambiguous' : cookies
}

/**
 * The tokens that a request comes with, as they stand: one, or several cookies, each another one. In both places there may be one, when it is
 * the same.
 * @returns `ambiguous`: some, of which somebody could read another one than we do
 */
export const presentedTokens = (rawHeaders: readonly string[]): readonly string[] | 'ambiguous' => {
  const tokens = tokensIn(fieldsOf(rawHeaders, 'cookie').flatMap(cookiesOf))
  const fields = fieldsOf(rawHeaders, FIELD_NAME)
  if (tokens === 'ambiguous' || fields.length > 1) return 'ambiguous'
  const [field] = fields
  if (field === undefined) return tokens
  return tokens.every((token) => token === field) ? [field] : 'ambiguous'
}

const DEFAULTS: NonNullable<SessionChoice['cookie']> = { httpOnly: true, sameSite: 'lax', path: false }

const SAME_SITE: Readonly<Record<SameSite, string>> = { lax: 'Lax', strict: 'Strict', none: 'None' }

/** The part of an application's path that every path under it begins with and that a client compares as it stands; else the whole host. */
const pathOf = (application: Application | undefined): string => {
  const path = application?.https?.path
  if (application?.cookie?.path !== true || path === undefined) return '/'
  const [literal = ''] = path.split('*')
  const prefix = literal === path ? path : literal.slice(0, literal.lastIndexOf('/') + 1)
  return /^\/[A-Za-z0-9\-._~!$&'()+,=:@/]*$/.test(prefix) ? prefix : '/'
}

const attributesOf = (application: Application | undefined, path: string): string => {
  const { httpOnly, sameSite } = application?.cookie ?? DEFAULTS
  return `Path=${path}; Secure; ${httpOnly ? 'HttpOnly; ' : ''}SameSite=${SAME_SITE[sameSite]}`
}

/** @param seconds until the token ends, at least 1. @returns undefined: longer than every client keeps */
export const sessionCookie = (
  application: Application,
  token: string,
  seconds: number,
): string | undefined => {
  const attributes = attributesOf(application, pathOf(application))
  const cookie = `${COOKIE_NAME}=${token}; ${attributes}; Max-Age=${seconds}`
  return cookie.length > MAX_COOKIE ? undefined : cookie
}

/** For the application's path, and for the whole host: it may have been set by another one, or before the application was changed. */
export const forgettingCookies = (application: Application | undefined): readonly string[] =>
  [...new Set([pathOf(application), '/'])].map(
    (path) => `${COOKIE_NAME}=; ${attributesOf(application, path)}; Max-Age=0`,
  )
