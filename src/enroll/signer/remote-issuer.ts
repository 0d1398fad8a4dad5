/**
 * An issuer whose key is with a `sallyport signer`: the same interface as the one in this process (#pki/issuer.ts), so that nobody else
 * knows. Reads the public certificates here, and asks for every signature. Not the connection: signer-client.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { readAuthority, type Issuer } from '#pki/issuer.ts'
import type { Log } from '#runtime/log.ts'
import { ENTRIES_PER_FRAME, packEntries, type SignerHello } from '#wire/signer.ts'
import { openSignerClient, type Answer, type SignerClient } from './signer-client.ts'

const plainUrl = (url: string): string => url.replace(/\/+$/, '')

const derOf = (answer: Answer): Buffer => {
  if (answer.kind === 'der') return answer.der
  throw new FleetError('internal', 'the signer waits for more, and there is no more')
}

/** A mix-up of answers would give one device the certificate of another: each must say what was asked for. */
const about = (der: Buffer, serial: string, spkiDer: Uint8Array): Buffer => {
  if (der.includes(Buffer.from(serial, 'hex')) && der.includes(spkiDer)) return der
  throw new FleetError('issuer_unusable', 'the signer answered with another certificate')
}

/**
 * Also while the signer is away: then it is not {@link Issuer.ready}, and every signature is refused with `issuer_unusable` until the
 * signer is there again.
 * @param o.socket `ca.signer`
 * @param o.intermediatePem the issuing intermediate first; those above it may follow
 * @param o.statusUrl what this desk believes to stand in its certificates; a signer that writes another one is not used
 * @throws issuer_unusable: the certificates are not those of an issuer, as `openIssuer` says it
 */
export const openRemoteIssuer = async (o: {
  readonly socket: string
  readonly rootPem: string
  readonly intermediatePem: string
  readonly statusUrl: string
  readonly now: number
  readonly log: Log
  /** for tests */
  readonly client?: Pick<Parameters<typeof openSignerClient>[0], 'within' | 'backoff'>
}): Promise<Issuer> => {
  const authority = readAuthority(o)
  const { ski, certificate, notAfter } = authority

  const judge = ({ issuers, status_url: statusUrl }: SignerHello): string | undefined => {
    const held = issuers.find((each) => each.ski === ski)
    if (held === undefined) return `it has no key of issuer ${ski}`
    if (held.sha256 !== certificate.fingerprint) return `it has another certificate of issuer ${ski}`
    if (statusUrl !== plainUrl(o.statusUrl))
      return `it writes enroll.status_url ${statusUrl} into certificates, and this desk has ${plainUrl(o.statusUrl)}`
    return undefined
  }
  let lastCrlNumber: bigint | undefined
  const client: SignerClient = await openSignerClient({
    socket: o.socket,
    judge,
    // somebody has asked for CRLs behind this desk's back, or its registry is an old one: it goes on after them
    onCrlNumber: (last) => (lastCrlNumber = last),
    log: o.log,
    ...o.client,
  })

  const checkLife = (end: number): void => {
    if (end > notAfter)
      throw new FleetError(
        'issuer_unusable',
        `the CA expires at ${new Date(notAfter).toISOString()}, before the certificate would`,
      )
  }

  return {
    ...authority,
    ready: () => client.ready(),
    problem: () => client.problem(),
    lastCrlNumber: () => lastCrlNumber,
    async issueDevice({ deviceId, spkiDer, serial, notBefore, notAfter: end, extras }) {
      checkLife(end)
      const answer = await client.ask({
        op: 'device',
        ski,
        device_id: deviceId,
        spki: Buffer.from(spkiDer).toString('base64'),
        serial,
        not_before: notBefore,
        not_after: end,
        ...(extras === undefined
          ? {}
          : {
              extras: {
                ...(extras.organization === undefined ? {} : { organization: extras.organization }),
                ...(extras.organizationalUnit === undefined
                  ? {}
                  : { organizational_unit: extras.organizationalUnit }),
                ...(extras.dnsNames === undefined ? {} : { dns_names: [...extras.dnsNames] }),
              },
            }),
      })
      return about(derOf(answer), serial, spkiDer)
    },
    async issueResponder({ spkiDer, serial, notBefore, notAfter: end }) {
      checkLife(end)
      const answer = await client.ask({
        op: 'responder',
        ski,
        spki: Buffer.from(spkiDer).toString('base64'),
        serial,
        not_before: notBefore,
        not_after: end,
      })
      return about(derOf(answer), serial, spkiDer)
    },
    async signCrl({ number, thisUpdate, nextUpdate, entries, statusUrlsBefore = [] }) {
      const answer = await client.ask({
        op: 'crl',
        ski,
        number: String(number),
        this_update: thisUpdate,
        next_update: nextUpdate,
        status_urls_before: [...statusUrlsBefore],
        entries: entries.length,
      })
      if (answer.kind === 'der') return answer.der
      const made = client.answerTo(answer.id)
      // it is waited for below; that it fails while the entries are sent is no fault of nobody
      made.catch(() => undefined)
      for (let at = 0; at < entries.length; at += ENTRIES_PER_FRAME) {
        const packed = packEntries(entries.slice(at, at + ENTRIES_PER_FRAME))
        await client.tell(answer.id, { op: 'entries', packed })
        // requests for certificates come in between
        await new Promise((resolve) => setImmediate(resolve))
      }
      return derOf(await made)
    },
    [Symbol.asyncDispose]: () => client[Symbol.asyncDispose](),
  }
}
