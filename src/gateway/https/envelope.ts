/**
 * What a request says about itself before anyone asks who sent it: Host, framing, the fields a hop keeps for itself. Whatever could
 * be read in two ways is refused here. Not the target: #policy/target.ts.
 */

import { namedByConnection } from './spoofs.ts'

export type Envelope = {
  /** lower case, no port, no trailing dot: held against the TLS server name */
  readonly host: string
  /** `host`, and the port when it is not 443: what a target or `htu` names, and what the origin hears */
  readonly authority: string
  /** lower-case names that Connection declares hop-by-hop (RFC 9110 §7.6.1) */
  readonly connection: ReadonlySet<string>
  /** octets; undefined: chunked, or no body */
  readonly length: number | undefined
  readonly hasBody: boolean
  /** the Origin field, when there is one (RFC 6454) */
  readonly origin: string | undefined
}

export type Opened =
  { readonly ok: true; readonly envelope: Envelope } | { readonly ok: false; readonly problem: string }

const HOST = /^([a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])\.?(?::([0-9]{1,5}))?$/i

const refused = (problem: string): Opened => ({ ok: false, problem })

/**
 * @param rawHeaders name, value, name, value, … as they came
 * @param version `1.1`
 * @param ports beside 443, those that the client may name
 */
export const openEnvelope = (
  rawHeaders: readonly string[],
  version: string,
  ports: readonly number[],
): Opened => {
  if (version !== '1.1' && version !== '1.0') return refused('only HTTP/1.1 and HTTP/1.0 are spoken here')
  let hostField: string | undefined
  let coding: string | undefined
  let length: string | undefined
  let connection: string[] | undefined
  let origin: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const value = rawHeaders[at + 1] as string
    switch ((rawHeaders[at] as string).toLowerCase()) {
      case 'host':
        if (hostField !== undefined) return refused('there is more than one Host')
        hostField = value
        break
      case 'transfer-encoding':
        if (coding !== undefined) return refused('there is more than one Transfer-Encoding')
        coding = value
        break
      case 'content-length':
        if (length !== undefined) return refused('there is more than one Content-Length')
        length = value
        break
      case 'connection':
        ;(connection ??= []).push(value)
        break
      case 'origin':
        if (origin !== undefined) return refused('there is more than one Origin')
        origin = value
        break
      default:
    }
  }
  // RFC 9112 §3.2: a request without Host is a bad one; in HTTP/1.0 it may lack it, and is then of no host that we serve
  if (hostField === undefined) return refused('there is no Host')
  const [, name, port] = HOST.exec(hostField) ?? []
  if (name === undefined || (port !== undefined && Number(port) > 65_535))
    return refused('Host is not a host name')
  // an origin makes links of it, and caches answers under it: it is not the client's to choose
  if (port !== undefined && Number(port) !== 443 && !ports.includes(Number(port)))
    return refused('the port in Host is not the one that is listened on here')
  // RFC 9112 §6.1 and §6.3: anything but these framings is where two parsers part ways
  if (
    coding !== undefined &&
    (length !== undefined || version !== '1.1' || coding.trim().toLowerCase() !== 'chunked')
  )
    return refused('the body is framed in a way that is not accepted here')
  if (length !== undefined && !/^[0-9]{1,15}$/.test(length)) return refused('Content-Length is not a number')

  const host = name.toLowerCase()
  const octets = length === undefined ? undefined : Number(length)
  return {
    ok: true,
    envelope: {
      host,
      authority: port === undefined || Number(port) === 443 ? host : `${host}:${Number(port)}`,
      connection: namedByConnection(connection),
      length: octets,
      hasBody: coding !== undefined || (octets !== undefined && octets > 0),
      origin,
    },
  }
}
