/**
 * What the status listener says of issuers from before they are known to after they are gone, and of what their stolen keys sign: a real
 * desk, the operator's commands, and whoever asks over plain HTTP.
 */

import 'reflect-metadata'
import { X509Crl } from '@peculiar/x509'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import { fromPem } from '#pki/pem.ts'
import { ocspRequest } from '../support/ocsp-request.ts'
import { readOcspResponse } from '../support/ocsp-response.ts'
import { randomSerial } from '../support/pki.ts'
import { startRotation, type Rotation } from '../support/rotation.ts'

const [OK, UNAUTHORIZED] = [0, 6]

let rotation: Rotation
beforeAll(async () => {
  rotation = await startRotation()
})
afterAll(() => rotation[Symbol.asyncDispose]())

const status = () => rotation.desk().urls['status'] as string
const get = (path: string) => fetch(status() + path)
const factsOf = (pem: string): CertificateFacts =>
  readCertificate(fromPem(pem, 'CERTIFICATE')[0] ?? new Uint8Array())
const skiOf = ({ subjectKeyId }: CertificateFacts): string => subjectKeyId ?? ''
const crlOf = async (issuer: CertificateFacts) => {
  const reply = await get(`/crl/${skiOf(issuer)}.crl`)
  return reply.status === 200 ? new X509Crl(await reply.arrayBuffer()) : undefined
}
const ocsp = async (issuer: CertificateFacts, serial: string) => {
  const reply = await fetch(`${status()}/ocsp`, {
    method: 'POST',
    headers: { 'content-type': 'application/ocsp-request' },
    body: new Uint8Array(ocspRequest({ issuer, serials: [serial] })),
  })
  const said = readOcspResponse(Buffer.from(await reply.arrayBuffer()))
  return said.status === OK ? said.serials[serial] : said.status
}
const listed = (issuer: CertificateFacts, serial: string, reason: number) =>
  vi.waitFor(async () => expect((await crlOf(issuer))?.findRevoked(serial)).toMatchObject({ reason }), {
    timeout: 5_000,
    interval: 20,
  })
const over = (issuer: CertificateFacts, serial: string) =>
  vi.waitFor(async () => expect(await ocsp(issuer, serial)).toBe(UNAUTHORIZED), {
    timeout: 5_000,
    interval: 20,
  })
const run = async (...words: string[]) => {
  const { code, err } = await rotation.cli(...words)
  expect([words.join(' '), code, err]).toEqual([words.join(' '), 0, ''])
}

test('from one that nobody has been told of to one whose key was stolen', async () => {
  const first = rotation.home.pki.devices.facts
  const old = await rotation.enroll('lamp-1')
  const lost = await rotation.enroll('lamp-2')
  const [oldSerial, lostSerial] = [factsOf(old.certPem).serial, factsOf(lost.certPem).serial]

  // prepared: nothing of it leaves the house
  const made = await rotation.json<{ ski: string; certificate: string }>('ca', 'rotate', 'prepare')
  const second = factsOf(readFileSync(made.certificate, 'utf8'))
  for (const path of [`/crl/${made.ski}.crl`, `/issuer/${made.ski}.cer`]) {
    expect([path, (await get(path)).status]).toEqual([path, 404])
  }
  expect(await ocsp(second, randomSerial())).toBe(UNAUTHORIZED)
  const told = await rotation.desk().operator('/v1/crls')
  expect(told.text).not.toContain(made.ski)

  await run('ca', 'rotate', 'distribute')
  expect((await get(`/issuer/${made.ski}.cer`)).status).toBe(200)
  await vi.waitFor(async () => expect(await crlOf(second)).toBeDefined(), { timeout: 5_000, interval: 20 })
  await run('ca', 'rotate', 'activate', '--force')

  // retired while certificates of it have weeks: the doors know, and everybody else may still ask
  await run('ca', 'rotate', 'retire', skiOf(first), '--force')
  expect(await ocsp(first, oldSerial)).toBe('good')
  await run('cert', 'revoke', lostSerial, '--reason', 'superseded')
  expect(await ocsp(first, lostSerial)).toBe('revoked 4')
  await listed(first, lostSerial, 4)
  await rotation.restart()
  expect(await ocsp(first, lostSerial)).toBe('revoked 4')
  await listed(first, lostSerial, 4)
  expect((await get(`/issuer/${skiOf(first)}.cer`)).status).toBe(200)

  // its key is stolen, and signs what no record has
  const forged = randomSerial()
  expect(await ocsp(first, forged)).toBe('unknown')
  expect((await rotation.cli('cert', 'revoke', forged)).code).toBe(1)
  await run('cert', 'revoke', forged, '--issuer', skiOf(first), '--reason', 'keyCompromise')
  expect(await ocsp(first, forged)).toBe('revoked 1')
  await listed(first, forged, 1)

  await run('issuer', 'revoke', skiOf(first), '--reason', 'cACompromise')
  expect(await ocsp(first, oldSerial)).toBe('revoked 2')
  expect(await ocsp(first, randomSerial())).toBe('revoked 2')
  expect(await ocsp(first, lostSerial)).toBe('revoked 4')
  await listed(first, forged, 1)
  const renewed = await rotation.enroll('lamp-3')
  expect(await ocsp(second, factsOf(renewed.certPem).serial)).toBe('good')

  // when nobody can hold a certificate of it any more, it is not spoken of
  rotation.pass(first.notAfter - rotation.now() + 30 * DAY)
  await over(first, oldSerial)
  expect((await get(`/crl/${skiOf(first)}.crl`)).status).toBe(404)
})

test('of a retired issuer that nobody was to ask about any more, a certificate turns up', async () => {
  await using other = await startRotation()
  const before = rotation
  rotation = other
  try {
    const { facts } = other.home.pki.devices
    const device = factsOf((await other.enroll('lamp-1')).certPem)
    await run('ca', 'rotate', 'prepare')
    await run('ca', 'rotate', 'distribute')
    await run('ca', 'rotate', 'activate', '--force')
    await run('ca', 'rotate', 'retire', skiOf(facts), '--force')
    expect(await ocsp(facts, device.serial)).toBe('good')
    // none was made meanwhile, so one more is, and no longer than that
    other.pass(device.notAfter - other.now() + 30 * DAY)
    await vi.waitFor(async () => expect(await crlOf(facts)).toBeDefined(), { timeout: 5_000, interval: 20 })
    expect(await ocsp(facts, device.serial)).toBe('good')
    other.pass(30 * DAY)
    await over(facts, device.serial)
    const forged = randomSerial()
    await run('cert', 'revoke', forged, '--issuer', skiOf(facts), '--reason', 'superseded')
    expect(await ocsp(facts, forged)).toBe('revoked 4')
    await listed(facts, forged, 4)
  } finally {
    rotation = before
  }
})
