/** The two issuers, with the key here and with the key at a signer, say the same: the interface of #pki/issuer.ts. */

import { createHash, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY, MINUTE, SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import { openRemoteIssuer } from '#enroll/signer/remote-issuer.ts'
import { childrenOf, derOf, readDer, TAG, type Node } from '#pki/der.ts'
import type { Issuer } from '#pki/issuer.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { newSerial } from '#pki/serial.ts'
import { createLog } from '#runtime/log.ts'
import { startSigner, type TestSigner } from '../support/signer.ts'

const STATUS_URL = 'http://localhost:8081'
const NOW = Math.floor(Date.now() / SECOND) * SECOND
const validity = { notBefore: NOW - 5 * MINUTE, notAfter: NOW + 20 * DAY }
const log = createLog('enroll', 'error', { write: () => undefined })

let signer: TestSigner
let local: Issuer
let remote: Issuer
beforeAll(async () => {
  signer = await startSigner()
  const { root, devices } = signer.home.pki
  local = await signer.home.pki.openIssuer({ statusUrl: STATUS_URL })
  remote = await openRemoteIssuer({
    socket: signer.socket,
    rootPem: root.pem,
    intermediatePem: devices.pem,
    statusUrl: `${STATUS_URL}/`,
    now: NOW,
    log,
  })
})
afterAll(async () => {
  await remote[Symbol.asyncDispose]()
  await local[Symbol.asyncDispose]()
  await signer.stop()
})

const both = (): readonly (readonly [string, Issuer])[] => [
  ['local', local],
  ['remote', remote],
]

/** What was signed. CRLs are larger than what readDer takes: their TBS is found by its length. */
const tbsOf = (der: Uint8Array): string => {
  const bytes = Buffer.from(der)
  if (bytes.length < 20_000) {
    const [tbs] = childrenOf(readDer(der, 'signed'), TAG.sequence, 'signed', { min: 3, max: 3 })
    return derOf(tbs as Node).toString('hex')
  }
  const outer = 2 + ((bytes[1] as number) & 0x7f)
  const head = 2 + ((bytes[outer + 1] as number) & 0x7f)
  const length = bytes.readUIntBE(outer + 2, head - 2)
  return createHash('sha256')
    .update(bytes.subarray(outer, outer + head + length))
    .digest('hex')
}

it('describe the same authority', () => {
  expect(remote).toMatchObject({
    ski: local.ski,
    notAfter: local.notAfter,
    chainPem: local.chainPem,
    certificate: { fingerprint: local.certificate.fingerprint },
    root: { fingerprint: local.root.fingerprint },
  })
  expect(remote.ready?.()).toBe(true)
})

describe('sign the same bytes', () => {
  const extras = [
    undefined,
    { organization: 'Acme' },
    { organization: 'Ünï', organizationalUnit: 'x', dnsNames: ['a.example', 'b.example'] },
  ]
  it.each(
    (['P-256', 'P-384', 'Ed25519', 'RSA'] as const).flatMap((kind) =>
      extras.map((each) => [kind, each] as const),
    ),
  )('for a device: %s, %j', async (kind, each) => {
    const key = spkiDer(generateKey(kind).publicKey)
    const request = {
      deviceId: 'lamp-1' as DeviceId,
      spkiDer: key,
      serial: newSerial(),
      ...validity,
      extras: each,
    }
    const [one, other] = [await local.issueDevice(request), await remote.issueDevice(request)]
    expect(tbsOf(other)).toBe(tbsOf(one))
    expect(new X509Certificate(other).verify(signer.home.pki.devices.publicKey)).toBe(true)
  })

  it('for a responder', async () => {
    const key = spkiDer(generateKey('P-256').publicKey)
    const request = { spkiDer: key, serial: newSerial(), ...validity, notAfter: NOW + 7 * DAY }
    expect(tbsOf(await remote.issueResponder(request))).toBe(tbsOf(await local.issueResponder(request)))
  })

  const reasons: readonly RevocationReason[] = [
    'unspecified',
    'keyCompromise',
    'certificateHold',
    'superseded',
  ]
  /** Of the last one. */
  let lastNumber = BigInt(NOW / SECOND)
  it.each([0, 1, 1_199, 1_200, 1_201, 30_000])('for a CRL of %d entries', async (count) => {
    const entries = Array.from({ length: count }, (_, n) => ({
      // a thief's have any length
      serial: n % 5 === 0 ? '01'.repeat(1 + (n % 32)) : newSerial(),
      revokedAt: NOW - n * SECOND,
      reason: reasons[n % 4] as RevocationReason,
    }))
    const request = {
      number: (lastNumber += 1n),
      thisUpdate: NOW - 5 * MINUTE,
      nextUpdate: NOW + DAY,
      entries,
      statusUrlsBefore: ['http://before.example'],
    }
    const [one, other] = [await local.signCrl(request), await remote.signCrl(request)]
    expect(tbsOf(other)).toBe(tbsOf(one))
  })

  it('with a CRL under way, certificates do not wait for it', async () => {
    const entries = Array.from({ length: 100_000 }, () => ({
      serial: newSerial(),
      revokedAt: NOW,
      reason: 'superseded' as const,
    }))
    const order: string[] = []
    const list = remote
      .signCrl({ number: (lastNumber += 1n), thisUpdate: NOW, nextUpdate: NOW + DAY, entries })
      .then((der) => order.push(`list of ${der.length > 3_000_000 ? 'megabytes' : 'nothing'}`))
    const key = spkiDer(generateKey('P-256').publicKey)
    await remote.issueDevice({
      deviceId: 'lamp-1' as DeviceId,
      spkiDer: key,
      serial: newSerial(),
      ...validity,
    })
    order.push('certificate')
    await list
    expect(order).toEqual(['certificate', 'list of megabytes'])
  })
})

describe('refuse the same', () => {
  const key = spkiDer(generateKey('P-256').publicKey)
  const weak = spkiDer(generateKey('RSA', 1_024).publicKey)
  const device = (changes: object) => ({
    deviceId: 'lamp-1' as DeviceId,
    spkiDer: key,
    serial: newSerial(),
    ...validity,
    ...changes,
  })

  it('what would outlive the CA', async () => {
    for (const [, issuer] of both())
      await expect(issuer.issueDevice(device({ notAfter: local.notAfter + SECOND }))).rejects.toMatchObject({
        code: 'issuer_unusable',
        detail: expect.stringContaining('the CA expires at'),
      })
  })

  it('a weak key', async () => {
    for (const [, issuer] of both())
      await expect(issuer.issueDevice(device({ spkiDer: weak }))).rejects.toMatchObject({ code: 'weak_key' })
  })

  it('everything, once they are closed', async () => {
    const { root, devices } = signer.home.pki
    const closed = [
      await signer.home.pki.openIssuer({ statusUrl: STATUS_URL }),
      await openRemoteIssuer({
        socket: signer.socket,
        rootPem: root.pem,
        intermediatePem: devices.pem,
        statusUrl: STATUS_URL,
        now: NOW,
        log,
      }),
    ]
    for (const issuer of closed) {
      await issuer[Symbol.asyncDispose]()
      await expect(issuer.issueDevice(device({}))).rejects.toMatchObject({
        code: 'issuer_unusable',
        detail: 'the issuer has been closed',
      })
    }
  })
})
