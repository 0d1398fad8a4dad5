/**
 * A whole rotation of the issuing CA, with a real desk, a real gateway and the operator's commands: from prepared to retired, each step
 * refused before its time, every device admitted all the while. And what an attacker would try on the way.
 */

import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import type { Issuer, IssuerMoved } from '#wire/rest.ts'
import { addOperatorToken } from '../support/enroll-desk.ts'
import { keyPemOf, makeCa, makeCsr, type TestCa } from '../support/pki.ts'
import { startRotation, type Device, type Rotation } from '../support/rotation.ts'

type Made = {
  readonly ski: string
  readonly certificate: string
  readonly key: string
  readonly registered: boolean
}

/** Who signed it, by name. */
const issuerOf = (pem: string): string | undefined => /CN=(.*)$/m.exec(new X509Certificate(pem).issuer)?.[1]

const asCa = (made: Made, home: Rotation['home']): TestCa => {
  const pem = readFileSync(made.certificate, 'utf8')
  const { raw } = new X509Certificate(pem)
  const facts = readCertificate(raw)
  const keyPem = readFileSync(made.key, 'utf8')
  return { ...home.pki.devices, pem, keyPem, der: raw, facts, ski: made.ski, subjectDer: facts.subjectDer }
}

describe('from one issuer to the next', () => {
  let rotation: Rotation
  let [first, second]: [Device, Device] = [] as unknown as [Device, Device]
  let made: Made
  let nextPem: string
  beforeAll(async () => {
    rotation = await startRotation()
    first = await rotation.enroll('lamp-1')
    second = await rotation.enroll('lamp-2')
  })
  afterAll(() => rotation[Symbol.asyncDispose]())

  const issuers = async () => (await rotation.json<{ items: Issuer[] }>('issuer', 'ls')).items
  const states = async () => (await issuers()).map(({ state }) => state)
  const chain = () => rotation.desk().device('/v1/chain.pem')

  test('before: a device is admitted with its leaf alone, though the anchor holds the root only', async () => {
    expect(await rotation.knock(first)).toBe('allowed')
    expect(await rotation.knock(first, first.chainPem)).toBe('allowed')
    expect((await chain()).text).toBe(rotation.home.pki.devices.pem + rotation.home.pki.root.pem)
  })

  test('prepare makes it with the root key, and the desk takes it in without a restart', async () => {
    made = await rotation.json<Made>('ca', 'rotate', 'prepare')
    nextPem = readFileSync(made.certificate, 'utf8')
    expect(made.registered).toBe(true)
    expect(await states()).toEqual(['active', 'prepared'])
    expect((await issuers())[1]).toMatchObject({
      ski: made.ski,
      signs: false,
      key_here: true,
      live_certificates: 0,
    })
    expect(
      new X509Certificate(nextPem).verify(new X509Certificate(rotation.home.pki.root.pem).publicKey),
    ).toBe(true)
    // nobody is told of it
    expect((await chain()).text).not.toContain(nextPem)
    const third = await rotation.enroll('lamp-3')
    expect(issuerOf(third.certPem)).toBe('Test Devices')
  })

  test('whoever steals the key of a prepared issuer gets in nowhere with it', async () => {
    const { pki } = rotation.home
    const by = {
      ...asCa(made, rotation.home),
      privateKey: createPrivateKey(readFileSync(made.key)),
    }
    const forged = pki.device({ by, id: 'lamp-1', notBefore: Date.now() - DAY })
    expect(await rotation.knock(forged, nextPem)).toBe('certificate_unknown')
    expect(await rotation.knock(forged)).toBe('certificate_untrusted')
    const answer = await rotation.desk().device('/v1/renew', {
      body: { csr: makeCsr({ commonName: 'lamp-1' }).pem },
      tls: { key: forged.keyPem, cert: forged.fullPem },
    })
    expect(answer.json?.['reason']).toMatch(/^certificate_un/)
  })

  test.each(['viewer', 'operator'] as const)('a %s may look, and move nothing', async (role) => {
    const desk = rotation.desk()
    const token = await addOperatorToken(desk.registry, role, rotation.now())
    expect((await desk.operator('/v1/issuers', { token })).status).toBe(200)
    for (const path of [
      '',
      `/${made.ski}/distribute`,
      `/${made.ski}/activate`,
      `/${made.ski}/retire`,
      `/${made.ski}/revoke`,
    ]) {
      const answer = await desk.operator(`/v1/issuers${path}`, { token, body: {} })
      expect([path, answer.status, answer.json?.['reason']]).toEqual([path, 403, 'forbidden'])
    }
  })

  test('activate is refused before distribute', async () => {
    const { code, err } = await rotation.cli('ca', 'rotate', 'activate', made.ski)
    expect([code, err]).toEqual([1, expect.stringContaining('it is prepared, and only what is offered')])
  })

  test('distribute gives the chain out, under a new version', async () => {
    const before = await chain()
    const moved = await rotation.json<IssuerMoved>('ca', 'rotate', 'distribute')
    expect(moved).toMatchObject({ ski: made.ski, state: 'offered', signs: false })
    const after = await chain()
    expect(after.text).toBe(rotation.home.pki.devices.pem + nextPem + rotation.home.pki.root.pem)
    expect(Number(after.headers['sallyport-trust-version'])).toBe(
      Number(before.headers['sallyport-trust-version']) + 1,
    )
    expect(after.headers.etag).not.toBe(before.headers.etag)
    const again = await rotation
      .desk()
      .device('/v1/chain.pem', { headers: { 'if-none-match': String(after.headers.etag) } })
    expect([again.status, again.text]).toEqual([304, ''])
    // and in EST
    expect((await rotation.desk().device('/.well-known/est/cacerts')).text.length).toBeGreaterThan(
      after.text.length / 2,
    )
    expect(issuerOf((await rotation.enroll('lamp-4')).certPem)).toBe('Test Devices')
  })

  test('activate is refused too early, with the numbers; one device that fetches a hundred times is one', async () => {
    for (let at = 0; at < 100; at += 1) await rotation.as(first, '/v1/chain.pem')
    // nobody: served, and not counted
    for (let at = 0; at < 20; at += 1) await chain()
    const { code, err } = await rotation.cli('ca', 'rotate', 'activate')
    expect(code).toBe(1)
    expect(err).toContain('0 minutes, of 7 days that it takes')
    expect(err).toContain('1 of 4 active devices have fetched it (25 %), of 95 % that it takes')
    expect(await states()).toEqual(['active', 'offered'])
  })

  test('a certificate that a door would refuse is not counted', async () => {
    const third = await rotation.enroll('lamp-5')
    const revoked = await rotation.desk().operator('/v1/devices/lamp-5/revoke', { body: {} })
    expect(revoked.status).toBe(200)
    expect((await rotation.as(third, '/v1/chain.pem')).status).toBe(200)
    expect((await issuers())[1]).toMatchObject({ fetched: 1, active_devices: 4 })
  })

  test('after a week it is activated: new certificates come from it, and those of before stay good', async () => {
    rotation.pass(7 * DAY)
    const moved = await rotation.json<IssuerMoved>('ca', 'rotate', 'activate')
    expect(moved).toMatchObject({ ski: made.ski, state: 'active', signs: true })
    expect(moved.notes[0]).toContain('1 of 4 active devices have fetched it (25 %)')
    expect(await states()).toEqual(['retiring', 'active'])

    const next = await rotation.enroll('lamp-6')
    expect(next.chainPem).toBe(nextPem)
    await rotation.says('allowed', next)
    expect(await rotation.knock(next, next.chainPem)).toBe('allowed')
    expect(await rotation.knock(first)).toBe('allowed')
    expect(await rotation.knock(first, first.chainPem)).toBe('allowed')
  })

  test('an answer that was lost before comes again with its own chain', async () => {
    const again = await rotation.desk().device('/v1/enroll', { token: first.token, body: { csr: first.csr } })
    expect([again.json?.['certificate'], again.json?.['chain']]).toEqual([first.certPem, first.chainPem])
  })

  test('a device of the old issuer renews, with no more than its leaf', async () => {
    const { pem, privateKey } = makeCsr({ commonName: 'lamp-1' })
    const answer = await rotation.as(first, '/v1/renew', { csr: pem })
    expect([answer.status, answer.json?.['chain']]).toEqual([201, nextPem])
    const renewed = { keyPem: keyPemOf(privateKey), certPem: answer.json?.['certificate'] as string }
    expect(await rotation.knock(renewed)).toBe('allowed')
    // both, until the old one is retired
    expect(await rotation.knock(first)).toBe('allowed')
  })

  test('ca show says it in words', async () => {
    const { out } = await rotation.cli('ca', 'show')
    expect(out).toMatch(
      /^Certificates are signed by "Test Devices [0-9a-f]{8}" \(until \d{4}-\d\d-\d\d, \d+ days\), which was signed by the root "Test Root" \(until/,
    )
    expect(out).toMatch(/^"Test Devices" is retiring \(until .*\), with \d certificates in use\.$/m)
  })

  test('retire is refused while its certificates live, and says how many', async () => {
    const { code, err } = await rotation.cli('ca', 'rotate', 'retire')
    expect([code, err]).toEqual([1, expect.stringMatching(/\d certificates of it are still in use/)])
    expect(await rotation.knock(second)).toBe('allowed')
  })

  test('forced, it is retired: the doors refuse its certificates, at once and by their reason', async () => {
    const moved = await rotation.json<IssuerMoved>('ca', 'rotate', 'retire', '--force')
    expect(moved).toMatchObject({ state: 'retired', key_here: false })
    // whoever asks about a certificate that lives is answered, for as long as one does
    expect(moved.notes.join('\n')).toMatch(
      /Its CRL and its OCSP answers are made until .* at least, .*: keep its key/,
    )
    const { ski } = rotation.home.pki.devices
    // a moment may pass until its first one as a retired issuer is made
    await expect
      .poll(async () => (await fetch(`${rotation.desk().urls['status']}/crl/${ski}.crl`)).status)
      .toBe(200)
    expect(moved.notes[0]).toMatch(/^Warning: \d certificates of it are still in use\./)
    await rotation.says('issuer_revoked', second)
    await rotation.says('issuer_revoked', second, second.chainPem)
    const answer = await rotation.as(second, '/v1/renew', { csr: makeCsr({ commonName: 'lamp-2' }).pem })
    expect(answer.json?.['reason']).toBe('issuer_revoked')
    const audit = await rotation.desk().registry.listAudit({ limit: 1_000 })
    expect(audit.items.at(-1)).toMatchObject({
      action: 'issuer.retired',
      actor: expect.stringMatching(/^operator:/),
      details: { forced: true, from: 'retiring' },
    })
    expect((await chain()).text).toBe(nextPem + rotation.home.pki.root.pem)
  })

  test('a restart changes none of it, though ca.intermediate is the one that is retired', async () => {
    await rotation.restart()
    expect(await states()).toEqual(['retired', 'active'])
    const next = await rotation.enroll('lamp-7')
    expect(next.chainPem).toBe(nextPem)
    expect(await rotation.knock(next)).toBe('allowed')
    expect(rotation.desk().logLines.join('\n')).toMatch(
      /Certificates are signed by \\"Test Devices [0-9a-f]{8}\\"/,
    )
  })
})

describe('revocation of an issuer', () => {
  test('acts at the doors at once; nobody signs until another is active', async () => {
    await using rotation = await startRotation()
    const device = await rotation.enroll('lamp-1')
    expect(await rotation.knock(device)).toBe('allowed')
    const { ski } = rotation.home.pki.devices
    const moved = await rotation.json<IssuerMoved>(
      'issuer',
      'revoke',
      ski.slice(0, 8),
      '--reason',
      'cACompromise',
    )
    expect(moved).toMatchObject({ ski, state: 'revoked', signs: false })
    expect(moved.notes.join('\n')).toMatch(/root's CRL[^]*1 certificate of it was in use[^]*issuer_unusable/)
    await rotation.says('issuer_revoked', device)
    await rotation.says('issuer_revoked', device, device.chainPem)

    // the two commands that the answer names, as it names them
    const { root } = rotation.home.pki
    const commands = [...moved.notes.join('\n').matchAll(/sallyport (ca crl [^.]*(?:\.crl)?)/g)].map(
      ([, words]) => String(words),
    )
    expect(commands).toHaveLength(2)
    for (const words of commands) await rotation.json(...words.split(' '))
    const crl = await fetch(`${rotation.desk().urls['status']}/crl/${root.ski}.crl`)
    const listed = Buffer.from(await crl.arrayBuffer()).toString('hex')
    expect([crl.status, listed.includes(rotation.home.pki.devices.facts.serial)]).toEqual([200, true])

    const { text } = await rotation.desk().claim()
    const { pem } = makeCsr({ commonName: 'lamp-2' })
    const refused = await rotation.desk().device('/v1/enroll', { token: text, body: { csr: pem } })
    expect([refused.status, refused.json?.['reason']]).toEqual([503, 'issuer_unusable'])

    await rotation.json('ca', 'rotate', 'prepare')
    await rotation.json('ca', 'rotate', 'distribute')
    await rotation.json('ca', 'rotate', 'activate', '--force')
    // the use of the token was not lost
    const answer = await rotation.desk().device('/v1/enroll', { token: text, body: { csr: pem } })
    expect(answer.status).toBe(201)
    await rotation.restart()
    expect((await rotation.enroll('lamp-3')).chainPem).toBe(answer.json?.['chain'])
  })
})

test('with ca.intermediate gone, an issuer is revoked at once, the next one is activated, and the desk starts again', async () => {
  await using rotation = await startRotation()
  const device = await rotation.enroll('lamp-1')
  const { config, pki } = rotation.home
  await rotation.json('ca', 'rotate', 'prepare')
  await rotation.json('ca', 'rotate', 'distribute')
  writeFileSync(config.ca.intermediate, 'not a certificate')
  const moved = await rotation.json<IssuerMoved>(
    'issuer',
    'revoke',
    pki.devices.ski,
    '--reason',
    'cACompromise',
  )
  expect(moved).toMatchObject({ state: 'revoked', signs: false })
  expect(moved.notes.join('\n')).toMatch(/root's CRL[^]*ca\.intermediate/)
  await rotation.says('issuer_revoked', device)
  await rotation.json('ca', 'rotate', 'activate', '--force')
  await rotation.enroll('lamp-2')
  await rotation.restart()
  await rotation.enroll('lamp-3')
  expect(rotation.desk().logLines.join('\n')).toMatch(/ca\.intermediate[^\n]*an issuer cannot be used/)
})

describe('files that cannot be an issuer', () => {
  let rotation: Rotation
  beforeAll(async () => {
    rotation = await startRotation()
  })
  afterAll(() => rotation[Symbol.asyncDispose]())

  const scan = () => rotation.json<{ items: Issuer[]; problems: string[] }>('issuer', 'scan')
  const put = (ca: Pick<TestCa, 'pem' | 'keyPem'>, name: string): void => {
    writeFileSync(join(rotation.home.config.ca.issuers, `${name}.pem`), ca.pem)
    writeFileSync(join(rotation.home.config.ca.issuers, `${name}.key`), ca.keyPem, { mode: 0o600 })
  }

  test('a key that others may read: told, and not used', async () => {
    const made = await rotation.json<Made>(
      'ca',
      'rotate',
      'prepare',
      '--out',
      join(rotation.home.path, 'elsewhere'),
    )
    expect(made.registered).toBe(false)
    renameSync(join(rotation.home.path, 'elsewhere'), rotation.home.config.ca.issuers)
    const key = join(rotation.home.config.ca.issuers, `${made.ski}.key`)
    chmodSync(key, 0o640)
    const refused = await scan()
    expect(refused.items).toHaveLength(1)
    expect(refused.problems).toEqual([expect.stringContaining(`chmod 600 ${key}`)])
    chmodSync(key, 0o600)
    expect((await scan()).items.map(({ state }) => state)).toEqual(['active', 'prepared'])
  })

  test.each<[string, () => readonly [Pick<TestCa, 'pem' | 'keyPem'>, string], RegExp]>([
    [
      'another key under the subject key id of one that signs',
      () => {
        const { pki } = rotation.home
        const ca = makeCa({
          name: 'Twin',
          now: pki.now,
          by: pki.root,
          pathLength: 0,
          subjectKeyId: pki.devices.ski,
        })
        return [ca, ca.ski]
      },
      /another key is in use under the subject key id/,
    ],
    [
      'one that the root did not sign',
      () => {
        const ca = makeCa({
          name: 'Alien',
          now: rotation.home.pki.now,
          by: rotation.home.pki.other.root,
          pathLength: 0,
        })
        return [ca, ca.ski]
      },
      /does not verify to the root/,
    ],
    [
      'the key of another',
      () => {
        const { pki } = rotation.home
        const ca = makeCa({ name: 'Mixed', now: pki.now, by: pki.root, pathLength: 0 })
        return [{ pem: ca.pem, keyPem: pki.devices.keyPem }, ca.ski]
      },
      /the intermediate key does not belong to the intermediate/,
    ],
    [
      "a name that is not its subject key id: one cannot stand in another's place",
      () => [
        makeCa({ name: 'Liar', now: rotation.home.pki.now, by: rotation.home.pki.root, pathLength: 0 }),
        'ab'.repeat(20),
      ],
      /and not its name/,
    ],
    [
      'a CA that could make CAs',
      () => {
        const ca = makeCa({ name: 'Wide', now: rotation.home.pki.now, by: rotation.home.pki.root })
        return [ca, ca.ski]
      },
      /path length 0/,
    ],
  ])('%s: told, and nothing else is hidden by it', async (_, make, problem) => {
    const before = await scan()
    put(...make())
    const after = await scan()
    expect(after.problems).toHaveLength(before.problems.length + 1)
    expect(after.problems.join('\n')).toMatch(problem)
    expect(after.items).toEqual(before.items)
  })
})
