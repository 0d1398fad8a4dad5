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

/** Only under the very name: no parser is asked what another spelling means. An empty value is a cookie that was to be forgotten. */
const cookiesOf = (cookie: string): readonly string[] =>
  cookie.includes(PREFIX)
    ? cookie
        .split(';')
        .map((pair) => pair.replace(/^[ \t]+/, ''))
        .filter((pair) => pair.startsWith(PREFIX) && pair.length > PREFIX.length)
        .map((pair) => pair.slice(PREFIX.length))
    : []

/**
 * The one token that a request comes with; in both places it may be, when it is the same.
 * @returns undefined: none; `ambiguous`: two, of which somebody could read the other
 */
export const presentedToken = (
  rawHeaders: readonly string[],
): { readonly token: string } | 'ambiguous' | undefined => {
  const cookies = fieldsOf(rawHeaders, 'cookie').flatMap(cookiesOf)
  const fields = fieldsOf(rawHeaders, FIELD_NAME)
  if (cookies.length > 1 || fields.length > 1) return 'ambiguous'
  const [cookie] = cookies
  const [field] = fields
  if (cookie !== undefined && field !== undefined && cookie !== field) return 'ambiguous'
  const token = cookie ?? field
  return token === undefined ? undefined : { token }
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
