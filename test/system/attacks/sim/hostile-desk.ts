/** An enroll desk of somebody who has the whole PKI: it certifies whoever asks, notices nothing, and says what a test wants. Not our desk. */

import { createHash, createPublicKey, randomBytes } from 'node:crypto'
import type { TlsOptions } from 'node:tls'
import { readCsr } from '#pki/csr.ts'
import { formatClaimToken } from '#wire/tokens.ts'
import type { LeafOptions, TestPki } from '../../../support/pki.ts'
import { httpsDoor, type Door, type Request } from './hostile-doors.ts'

export type DeskFaults = {
  /** of the certificate that is given; `renewal`: by POST /v1/renew */
  readonly leaf?: (asked: { readonly id: string; readonly renewal: boolean }) => LeafOptions
  /** of each, ms */
  readonly life?: number
  /** ms after which it is to be renewed */
  readonly renewAfter?: number
  readonly extra?: Readonly<Record<string, unknown>>
  /** true: it has answered, or does not want to */
  readonly first?: (request: Request, path: string) => boolean
}

export const claimTokenFor = (pki: TestPki): string =>
  formatClaimToken(
    't0k0so1jpkoqigzp',
    randomBytes(32).toString('base64url'),
    createHash('sha256').update(pki.root.der).digest(),
  )

export const hostileDesk = (pki: TestPki, tls: TlsOptions, faults: DeskFaults = {}): Promise<Door> =>
  httpsDoor(tls, (request) => {
    const path = request.head.split(' ')[1] ?? ''
    if (faults.first?.(request, path) === true) return
    if (path.startsWith('/v1/trust'))
      request.answer(200, pki.root.pem, ['content-type: application/x-pem-file'])
    else if (path.startsWith('/v1/chain'))
      request.answer(200, pki.devices.pem + pki.root.pem, ['content-type: application/x-pem-file'])
    else if (path === '/v1/confirm') {
      const { serialNumber } = request.socket.getPeerCertificate()
      const answer = { device_id: request.cn, serial: serialNumber.toLowerCase(), state: 'live' }
      request.answer(200, JSON.stringify(answer), ['content-type: application/json'])
    } else if (request.head.startsWith('POST /v1/enroll') || request.head.startsWith('POST /v1/renew ')) {
      const asked = JSON.parse(request.body) as { csr: string; device_id?: string }
      const csr = readCsr(asked.csr)
      const renewal = path === '/v1/renew'
      const id = (renewal ? request.cn : asked.device_id) ?? csr.commonName ?? ''
      const publicKey = createPublicKey({ key: Buffer.from(csr.spkiDer), format: 'der', type: 'spki' })
      const now = Date.now()
      const notAfter = now + (faults.life ?? 3_600_000)
      const key = { publicKey, privateKey: pki.devices.privateKey }
      const odd = faults.leaf?.({ id, renewal })
      // a shape may have dates of its own
      const leaf = pki.device({ id, key, ...(odd?.shape === undefined && { notAfter }), ...odd })
      const answer = {
        device_id: id,
        certificate: leaf.certPem,
        chain: leaf.chainPem,
        serial: leaf.facts.serial,
        not_before: new Date(leaf.facts.notBefore).toISOString(),
        not_after: new Date(leaf.facts.notAfter).toISOString(),
        renew_after: new Date(now + (faults.renewAfter ?? 3_000_000)).toISOString(),
        pending: renewal,
        ...faults.extra,
      }
      request.answer(201, JSON.stringify(answer), ['content-type: application/json'])
    } else request.answer(404, '{"reason":"not_found"}', ['content-type: application/problem+json'])
    request.socket.end()
  })
