/** The attacker shows a certificate that is almost one of ours, at every listener that reads one, even with the CA's own key in hand. */

import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import { makeCa, makeCsr, makePki, type LeafOptions, type TestCa } from '../../../support/pki.ts'
import { as, ask, children, openMqtt, said, stolenCa, tlv, type Heard, type Who } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const certificateAttacks = (given: () => Fleet): void => {
  const now = Date.now()
  const HOUR = 3_600_000
  const forger = makePki({ now })
  let fleet: Fleet
  let lamp: DeviceFiles
  const others: Record<string, DeviceFiles> = {}
  let stolen: TestCa
  let stolenRoot: TestCa
  beforeAll(async () => {
    fleet = given()
    lamp = await fleet.enroll('lamp-1')
    for (const id of ['gone-1', 'held-1', 'left-1', 'mine-1']) others[id] = await fleet.enroll(id)
    stolen = stolenCa(fleet.home)
    stolenRoot = stolenCa(fleet.home, 'root')
    await fleet.operator.call('POST', '/v1/devices/gone-1/revoke', { body: { reason: 'superseded' } })
    await fleet.operator.call('POST', '/v1/devices/held-1/suspend')
    await fleet.operator.call('POST', '/v1/devices/left-1/retire')
  })

  const minted = (o: LeafOptions): Who => forger.device({ id: 'lamp-1', by: stolen, ...o })
  const file = (name: string): string => readFileSync(join(fleet.home, 'certs', name), 'utf8')
  const pem = (der: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`
  const der = (text: string): Buffer => Buffer.from(text.replaceAll(/-----[^-]*-----|\s/g, ''), 'base64')

  /** The other signature that every ECDSA signature has: (r, n − s). The same certificate by another fingerprint. */
  const otherSignature = (device: DeviceFiles): Who => {
    const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const [tbs, algorithm, bits] = children(der(device.certificatePem)) as [Buffer, Buffer, Buffer]
    const [r, s] = children(bits.subarray(3)) as [Buffer, Buffer]
    const value = (n - BigInt(`0x${s.subarray(2).toString('hex')}`)).toString(16).padStart(64, '0')
    const bytes = Buffer.from(BigInt(`0x${value[0]}`) > 7n ? `00${value}` : value, 'hex')
    const signature = tlv(0x03, Buffer.of(0), tlv(0x30, r, tlv(0x02, bytes)))
    return { keyPem: device.keyPem, fullPem: pem(tlv(0x30, tbs, algorithm, signature)) + device.chainPem }
  }
  /** Our CA as another has made it: the same names and key identifiers, another key. */
  const double = (): TestCa => {
    const root = { ...makeCa({ name: '', now, subjectDer: stolenRoot.subjectDer }), ski: stolenRoot.ski }
    return {
      ...makeCa({ name: '', now, by: root, subjectDer: stolen.subjectDer, pathLength: 0 }),
      ski: stolen.ski,
    }
  }
  const underTheRoot = (): TestCa => makeCa({ name: 'Sallyport Devices', now, by: stolenRoot, pathLength: 0 })
  const withOurChain = (): Who => {
    const leaf = forger.device({ id: 'lamp-1', by: double() })
    return { keyPem: leaf.keyPem, fullPem: leaf.certPem + lamp.certificatePem + stolen.pem + stolenRoot.pem }
  }
  const byMyOwnLeaf = (): Who => {
    const { certificatePem, chainPem, keyPem } = others['mine-1'] as DeviceFiles
    const subjectDer = children(children(der(certificatePem))[0] as Buffer)[5] as Buffer
    const by = { ...stolen, pem: certificatePem + chainPem, privateKey: createPrivateKey(keyPem), subjectDer }
    return minted({ by })
  }

  const UNKNOWN = ['certificate_unknown']
  const UNTRUSTED = ['certificate_untrusted']
  /** which of these comes first is the desk's choice */
  const REFUSED = [...UNKNOWN, ...UNTRUSTED]
  const NO_CLIENT = [
    'certificate_untrusted',
    'certificate_wrong_purpose',
    'certificate_required',
    'certificate_unknown',
  ]
  const impostors: readonly [string, () => Who | undefined, readonly string[]][] = [
    ['none', () => undefined, ['certificate_required']],
    [
      "the server's own",
      () => ({ keyPem: file('private/server.key'), fullPem: file('server.pem') }),
      NO_CLIENT,
    ],
    [
      'the intermediate itself',
      () => ({ keyPem: stolen.keyPem, fullPem: stolen.pem + stolenRoot.pem }),
      NO_CLIENT,
    ],
    ['the root itself', () => ({ keyPem: stolenRoot.keyPem, fullPem: stolenRoot.pem }), NO_CLIENT],
    [
      "the services' intermediate",
      () => ({ keyPem: file('private/services.key'), fullPem: file('services.pem') }),
      NO_CLIENT,
    ],
    ["signed by our CA, a live device's names", () => minted({}), UNKNOWN],
    ['… and its serial', () => minted({ serial: lamp.serial }), UNKNOWN],
    [
      '… and its serial, revoked',
      () => minted({ id: 'gone-1', serial: others['gone-1']?.serial as string }),
      UNKNOWN,
    ],
    ['… a name that nobody has', () => minted({ id: 'ghost-1' }), UNKNOWN],
    [
      '… no name',
      () => minted({ subjectDer: tlv(0x30), names: [] }),
      [...UNKNOWN, 'certificate_required', 'certificate_untrusted'],
    ],
    ['… an Ed25519 key', () => minted({ kind: 'Ed25519' }), UNKNOWN],
    [
      '… expired',
      () => minted({ notBefore: now - 2 * HOUR, notAfter: now - HOUR }),
      ['certificate_expired', ...REFUSED],
    ],
    [
      '… not yet valid',
      () => minted({ notBefore: now + HOUR, notAfter: now + 2 * HOUR }),
      ['certificate_not_yet_valid', ...REFUSED],
    ],
    ['… for servers', () => minted({ shape: 'serverAuthOnly' }), ['certificate_wrong_purpose', ...REFUSED]],
    [
      '… for nothing in particular',
      () => minted({ shape: 'noEku' }),
      ['certificate_wrong_purpose', ...REFUSED],
    ],
    ['… for anything', () => minted({ shape: 'anyEku' }), ['certificate_wrong_purpose', ...REFUSED]],
    ['… a CA', () => minted({ shape: 'caTrue' }), ['certificate_wrong_purpose', ...REFUSED]],
    ['a live one by its other signature', () => otherSignature(lamp), UNKNOWN],
    ['a revoked one by its other signature', () => otherSignature(others['gone-1'] as DeviceFiles), UNKNOWN],
    [
      'a suspended one by its other signature',
      () => otherSignature(others['held-1'] as DeviceFiles),
      UNKNOWN,
    ],
    ['revoked', () => as(others['gone-1'] as DeviceFiles), ['certificate_revoked', 'device_revoked']],
    ['suspended', () => as(others['held-1'] as DeviceFiles), ['device_suspended']],
    ['retired', () => as(others['left-1'] as DeviceFiles), ['device_retired']],
    ['by a CA with our names and key identifiers', () => minted({ by: double() }), UNTRUSTED],
    ['… expired', () => minted({ by: double(), notBefore: now - 2 * HOUR, notAfter: now - HOUR }), UNTRUSTED],
    ['… with our real chain after it', withOurChain, UNTRUSTED],
    ['another one from our root', () => minted({ by: underTheRoot() }), [...UNKNOWN, ...UNTRUSTED]],
    [
      'one below our intermediate',
      () => minted({ by: makeCa({ name: 'Sub', now, by: stolen }) }),
      [...UNTRUSTED, 'certificate_unknown'],
    ],
    [
      'signed by itself',
      () => {
        const self = makeCa({ name: 'lamp-1', now, ca: false })
        return { keyPem: self.keyPem, fullPem: self.pem }
      },
      UNTRUSTED,
    ],
    [
      "signed in a device's name, whose certificate follows",
      byMyOwnLeaf,
      [...UNTRUSTED, 'certificate_wrong_purpose'],
    ],
  ]

  const listeners: readonly [string, (who: Who | undefined) => Promise<Heard>][] = [
    ['the HTTPS door', (who) => ask(fleet.urls.https, '/', { who })],
    [
      '/v1/renew',
      (who) =>
        ask(fleet.urls.devices, '/v1/renew', { who, body: { csr: makeCsr({ commonName: 'lamp-1' }).pem } }),
    ],
    [
      'EST simplereenroll',
      (who) =>
        ask(fleet.urls.devices, '/.well-known/est/simplereenroll', {
          who,
          headers: ['Content-Type: application/pkcs10'],
          body: makeCsr({ commonName: 'lamp-1' }).der.toString('base64'),
        }),
    ],
  ]

  describe.each(listeners)('%s', (_, show) => {
    test.each(impostors)('%s', async (_name, make, reasons) => {
      expect(said(await show(make()))).toEqual([403, expect.toBeOneOf([...reasons])])
    })
  })

  test.each(impostors)('the MQTT door: %s', async (_, make) => {
    using client = await openMqtt(fleet.urls.mqtts, { who: make() })
    expect(await client.connect({ clientId: 'lamp-1' })).toBe(5)
  })

  describe('renewal', () => {
    const renew = (who: Who, csr: string, body: object = {}): Promise<Heard> =>
      ask(fleet.urls.devices, '/v1/renew', { who, body: { csr, ...body } })
    const mine = (): Who => as(others['mine-1'] as DeviceFiles)
    test.each([
      ['/v1/enroll', 'lamp-1'],
      ['/v1/enroll', 'brand-new-1'],
      ['/.well-known/est/simpleenroll', 'lamp-1'],
      ['/.well-known/est/simpleenroll', 'brand-new-1'],
    ])('at %s my certificate is no token for %s', async (target, commonName) => {
      const csr = makeCsr({ commonName })
      const est = target.includes('est')
      const heard = await ask(fleet.urls.devices, target, {
        who: mine(),
        headers: est ? ['Content-Type: application/pkcs10'] : [],
        body: est ? csr.der.toString('base64') : { csr: csr.pem },
      })
      expect(heard.status).toBeOneOf([400, 401, 403])
    })

    test.each<[string, () => Promise<Heard>, number, string]>([
      [
        "another's id in the body",
        () => renew(mine(), makeCsr().pem, { device_id: 'lamp-1' }),
        400,
        'device_id_mismatch',
      ],
      [
        "another's id in the CSR",
        () => renew(mine(), makeCsr({ commonName: 'lamp-1' }).pem),
        400,
        'device_id_mismatch',
      ],
      [
        'my id in capitals',
        () => renew(mine(), makeCsr({ commonName: 'MINE-1' }).pem),
        400,
        'device_id_mismatch',
      ],
      [
        "another's key, signed by mine",
        () => {
          const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
          return renew(mine(), makeCsr({ key: { privateKey, publicKey: makeCsr().publicKey } }).pem)
        },
        400,
        'csr_signature_invalid',
      ],
      [
        'a renewal with a token, for another',
        async () =>
          ask(fleet.urls.devices, '/v1/renew', {
            token: await fleet.token({ device_id: 'lamp-1' }),
            who: mine(),
            body: { csr: makeCsr({ commonName: 'lamp-1' }).pem },
          }),
        400,
        'device_id_mismatch',
      ],
    ])('%s', async (_, attack, status, reason) => {
      expect(said(await attack())).toEqual([status, reason])
    })
  })

  test('renewals that race with a revocation leave nothing that opens a door', async () => {
    const racer = await fleet.enroll('racer-1')
    const renew = async (): Promise<Who | undefined> => {
      const csr = makeCsr({ commonName: 'racer-1' })
      const heard = await ask(fleet.urls.devices, '/v1/renew', { who: as(racer), body: { csr: csr.pem } })
      if (heard.status !== 201) return undefined
      const { certificate, chain } = JSON.parse(heard.body) as { certificate: string; chain: string }
      return {
        keyPem: csr.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        fullPem: certificate + chain,
      }
    }
    const before = Array.from({ length: 8 }, renew)
    const revoked = fleet.operator.call('POST', '/v1/devices/racer-1/revoke')
    const got = await Promise.all([...before, ...Array.from({ length: 8 }, renew)])
    await revoked
    const all = [as(racer), ...got.filter((one) => one !== undefined)]
    for (const who of all) {
      expect(said(await ask(fleet.urls.https, '/', { who }))).toEqual([403, 'certificate_revoked'])
      expect((await ask(fleet.urls.devices, '/v1/renew', { who, body: { csr: makeCsr().pem } })).status).toBe(
        403,
      )
    }
  })

  describe('a CA that the operator has let in beside ours', () => {
    const guests = makeCa({ name: 'Guests', now })
    const guest = (cn: string): Who =>
      forger.device({ by: guests, id: cn, names: ['urn:sallyport:device:lamp-1'] })
    beforeAll(() =>
      fleet.operator.call('PUT', '/v1/anchors/guests', {
        body: { pem: guests.pem, hostnames: ['localhost'] },
      }),
    )

    test("a guest with a device's names is a guest", async () => {
      await fleet.resetSeen()
      expect((await ask(fleet.urls.https, '/guest', { who: guest('lamp-1') })).status).toBe(200)
      const [seen] = (await fleet.seen()).items
      const claims = JSON.parse(
        Buffer.from(seen?.assertion?.split('.')[1] ?? '', 'base64url').toString(),
      ) as Record<string, unknown>
      expect([seen?.device ?? null, claims['device_id'] ?? null]).toEqual([null, null])
    })

    test('and gets no certificate for it from enroll', async () => {
      for (const [, show] of listeners.slice(1)) expect((await show(guest('lamp-1'))).status).toBe(403)
    })

    test.each([
      'lamp-1',
      '../lamp-1',
      '#',
      '+',
      'lamp-1/#',
      'x/../../devices/lamp-1',
      '$SYS',
      '',
      'guests/../lamp-1',
    ])('called %j, none of its ClientIDs opens a device’s topics', async (cn) => {
      for (const clientId of ['lamp-1', cn, `guests/${cn}`]) {
        using client = await openMqtt(fleet.urls.mqtts, { who: guest(cn) })
        const code = await client.connect({ clientId })
        if (clientId === 'lamp-1') expect(code).toBe(2)
        if (code !== 0) continue
        const topics = [
          'devices/lamp-1/#',
          'devices/lamp-1',
          'devices/#',
          'devices/+/x',
          '#',
          `devices/${cn}/#`,
        ]
        client.send({
          cmd: 'subscribe',
          messageId: 1,
          subscriptions: topics.map((topic) => ({ topic, qos: 0 as const })),
        })
        const granted = await client.until('suback').then(
          ({ granted: codes }) => codes.map(Number),
          () => [],
        )
        expect(granted.filter((one) => one < 0x80)).toEqual([])
      }
    })
  })

  test('after all that the device is who it was', async () => {
    expect((await ask(fleet.urls.https, '/', { who: as(lamp) })).status).toBe(200)
    const { certificates } = await fleet.operator.call<{ certificates: unknown[] }>(
      'GET',
      '/v1/devices/lamp-1',
    )
    expect(certificates).toHaveLength(1)
  })
}
