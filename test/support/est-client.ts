/** EST as a device speaks it, octet by octet, over raw TLS. Not a real client: those are in test/interop. */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { readCertificate } from '#pki/certificate.ts'
import { fromBase64 } from '#pki/pem.ts'
import { certsOnly } from '#pki/pkcs7.ts'
import type { TestLeaf } from './pki.ts'
import { openRaw, readReply, requestText, type RawReply } from './raw-https.ts'

export const EST = '/.well-known/est'
export const PKCS10 = 'Content-Type: application/pkcs10'

export const basic = (user: string, password: string): string =>
  `Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

export type Client = Pick<TestLeaf, 'keyPem' | 'fullPem'>
export type EstAsk = {
  readonly headers?: readonly string[]
  readonly body?: string | Uint8Array
  readonly leaf?: Client | undefined
}
/** `chunks`: in how many pieces TLS handed the answer over */
export type EstReply = RawReply & { readonly chunks: number }

/** @param port asked at each request. @param always header lines of each request: without `User-Agent`, clients are answered otherwise */
export const estClient = (port: () => number, always: readonly string[] = []) => {
  /** One request on a connection of its own. */
  const say = async (target: string, o: EstAsk & { readonly method?: string } = {}): Promise<EstReply> => {
    using client = await openRaw({ port: port(), serverName: 'localhost', leaf: o.leaf })
    let chunks = 0
    client.socket.on('data', () => (chunks += 1))
    const body = o.body === undefined ? undefined : Buffer.from(o.body as string)
    const length = body === undefined ? [] : [`Content-Length: ${body.length}`]
    const head = requestText(target, {
      method: o.method ?? (body === undefined ? 'GET' : 'POST'),
      host: 'localhost',
      headers: ['Connection: close', ...always, ...length, ...(o.headers ?? [])],
    })
    client.send(Buffer.concat([Buffer.from(head, 'latin1'), body ?? Buffer.alloc(0)]))
    return { ...readReply(await client.closed()), chunks }
  }
  return {
    say,
    /** @param label `/label`, or nothing */
    enrol: (o: EstAsk, label = ''): Promise<EstReply> =>
      say(`${EST}${label}/simpleenroll`, { ...o, headers: [PKCS10, ...(o.headers ?? [])] }),
    reenrol: (o: EstAsk, label = ''): Promise<EstReply> =>
      say(`${EST}${label}/simplereenroll`, { ...o, headers: [PKCS10, ...(o.headers ?? [])] }),
  }
}

/** The one certificate of an answer. A certs-only message differs from another only by what is in it. */
export const certificateIn = (reply: RawReply): CertificateFacts => {
  const p7 = fromBase64(reply.body) ?? Buffer.alloc(0)
  const start = certsOnly([]).length
  for (let at = start - 30; at < start + 30; at += 1) {
    try {
      const length = 4 + p7.readUInt16BE(at + 2)
      const facts = readCertificate(p7.subarray(at, at + length))
      if (Buffer.from(certsOnly([facts.der])).equals(p7)) return facts
    } catch {
      continue
    }
  }
  throw new Error(`no certificate in ${reply.raw}`)
}
