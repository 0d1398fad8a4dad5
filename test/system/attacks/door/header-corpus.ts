/**
 * Every header by which an origin is told who somebody is, the spellings that some origin reads as the same, and the ways to send them.
 * Not what is right: that stands in header-spoofing.test.ts.
 */

import { textOf, type Get } from './target.ts'

export const SPOOF = 'spoofed-by-the-client'
export const NAMES = [
  'Cf-Access-Jwt-Assertion',
  'Cf-Access-Authenticated-User-Email',
  'Cf-Access-User',
  'Cf-Access-Anything-New',
  'Cf-Client-Cert-Der-Base64',
  'Cf-Client-Cert-Sha256',
  'Cf-Client-Cert-Anything-New',
  'Cf-Connecting-IP',
  'Cf-Connecting-IPv6',
  'Cf-Pseudo-IPv4',
  'Cf-IPCountry',
  'Cf-Visitor',
  'Cf-Ray',
  'Cf-Worker',
  'Client-Cert',
  'Client-Cert-Chain',
  'X-Forwarded-Client-Cert',
  'X-Forwarded-Tls-Client-Cert',
  'X-Forwarded-Tls-Client-Cert-Info',
  'X-Forwarded-For',
  'X-Forwarded-By',
  'X-Forwarded-Host',
  'X-Forwarded-Port',
  'X-Forwarded-Proto',
  'X-Forwarded-Protocol',
  'X-Forwarded-Scheme',
  'X-Forwarded-Ssl',
  'X-Forwarded-Server',
  'X-Forwarded-Prefix',
  'X-Forwarded-Path',
  'X-Forwarded-Uri',
  'X-Forwarded-Method',
  'X-Forwarded-User',
  'X-Forwarded-Email',
  'X-Forwarded-Groups',
  'X-Forwarded-Preferred-Username',
  'X-Forwarded-Access-Token',
  'X-Forwarded',
  'Forwarded',
  'X-Real-IP',
  'True-Client-IP',
  'X-Client-IP',
  'X-Cluster-Client-IP',
  'X-Client-Cert',
  'X-SSL-Cert',
  'X-SSL-Client-Cert',
  'X-SSL-Client-Verify',
  'X-SSL-Client-CN',
  'X-SSL-Client-DN',
  'X-SSL-Client-S-DN',
  'X-SSL-Client-SHA1',
  'X-SSL-Client-Serial',
  'X-SSL-Issuer',
  'SSL-Client-Cert',
  'SSL-Client-Verify',
  'SSL-Client-S-DN',
  'SSL-Client-S-DN-CN',
  'SSL-Client-I-DN',
  'SSL-Client-M-Serial',
  'SSL-Client-Fingerprint',
  'SSL-Client-Escaped-Cert',
  'X-Amzn-Mtls-Clientcert',
  'X-Amzn-Mtls-Clientcert-Leaf',
  'X-Amzn-Mtls-Clientcert-Subject',
  'X-Original-URL',
  'X-Original-Host',
  'X-Original-Forwarded-For',
  'X-Rewrite-URL',
  'X-Envoy-External-Address',
  'X-Envoy-Original-Path',
]
export const SPELLINGS: Readonly<Record<string, (name: string) => string>> = {
  plain: (name) => name,
  'lower case': (name) => name.toLowerCase(),
  'upper case': (name) => name.toUpperCase(),
  'mixed case': (name) =>
    name
      .split('')
      .map((c, at) => (at % 2 === 0 ? c.toLowerCase() : c.toUpperCase()))
      .join(''),
  underscores: (name) => name.replaceAll('-', '_'),
  'underscores in capitals': (name) => name.replaceAll('-', '_').toUpperCase(),
  'one underscore': (name) => name.replace('-', '_'),
  'the last an underscore': (name) => name.replace(/-(?=[^-]*$)/, '_'),
  dots: (name) => name.replaceAll('-', '.'),
  tildes: (name) => name.replaceAll('-', '~'),
  'plus signs': (name) => name.replaceAll('-', '+'),
  'an apostrophe': (name) => name.replaceAll('-', "'"),
}
export type Way = (target: string, lines: readonly string[], o: Get) => string
export const WAYS: Readonly<Record<string, Way>> = {
  'as fields': (target, lines, o) => textOf(target, { ...o, headers: [...(o.headers ?? []), ...lines] }),
  twice: (target, lines, o) => textOf(target, { ...o, headers: [...lines, ...(o.headers ?? []), ...lines] }),
  'named in Connection': (target, lines, o) =>
    textOf(target, {
      ...o,
      close: false,
      headers: [
        ...(o.headers ?? []),
        ...lines,
        `Connection: close, ${lines.map((line) => line.split(':')[0]?.trim()).join(', ')}`,
      ],
    }),
  'in the trailers': (target, lines, o) =>
    `${textOf(target, {
      ...o,
      method: 'POST',
      headers: [...(o.headers ?? []), 'Transfer-Encoding: chunked', `Trailer: ${NAMES.join(', ')}`],
    })}2\r\nhi\r\n0\r\n${lines.join('\r\n')}\r\n\r\n`,
}

/** As CGI, WSGI, Rack and PHP see a field's name. */
export const folded = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')
