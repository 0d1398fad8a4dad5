/** The attacker reads what is left lying about: logs, files, replies, metrics, process lists. He finds no token, no key and no assertion. */

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import { makeCsr } from '../../../support/pki.ts'
import { as, ask, openMqtt, speak, type Ask } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const secretAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  let lamp: DeviceFiles
  /** what must be nowhere: name → text */
  const secrets: Record<string, string> = {}
  /** everything that any listener has answered, but for the two answers that hand a token out */
  const replies: string[] = []
  let metricsBefore: string

  const secretOf = (token: string): string => token.split('.')[2] as string
  const listeners = ['devices', 'status', 'operator', 'https'] as const
  const metrics = async (): Promise<string> =>
    (
      await Promise.all(
        (['enrollMetrics', 'gatewayMetrics'] as const).map(
          async (desk) => (await ask(fleet.urls[desk], '/metrics')).body,
        ),
      )
    ).join('\n')
  const tell = async (listener: (typeof listeners)[number], target: string, o: Ask = {}): Promise<void> => {
    replies.push((await ask(fleet.urls[listener], target, o)).raw)
  }

  /** Secrets said wherever a careless client, or a careful attacker, may say them. */
  const spill = async (name: string, secret: string): Promise<void> => {
    const inUrl = encodeURIComponent(secret)
    const inHeader = secret.replaceAll('\n', ' ')
    for (const listener of listeners)
      for (const o of [{}, { who: as(lamp) }]) {
        await tell(listener, `/?token=${inUrl}`, o)
        if (!secret.includes('PRIVATE')) await tell(listener, `/v1/devices/${inUrl}`, o)
        await tell(listener, '/v1/enroll', { ...o, token: `${inHeader}x`, body: `{"csr": ${secret}` })
        await tell(listener, '/', {
          ...o,
          headers: [
            `X-Request-Id: ${inHeader}`,
            `Cookie: a=${inHeader}`,
            `Idempotency-Key: ${inHeader}`,
            `Referer: https://x/?${inUrl}`,
            `User-Agent: ${inHeader}`,
          ],
        })
        await tell(listener, '/', {
          ...o,
          method: 'POST',
          body: secret,
        })
      }
    const token = await fleet.token()
    secrets[`claim token beside ${name}`] = secretOf(token)
    for (const body of [
      { csr: secret },
      { csr: makeCsr({ commonName: secret.slice(0, 60) }).pem },
      { csr: makeCsr().pem, device_id: secret },
      { csr: makeCsr().pem, [secret.slice(0, 80)]: 1 },
    ])
      await tell('devices', '/v1/enroll', { token, body })
    for (const user of [`${secret}:`, `${secret}:${token}`, `x:${secret}`, secret])
      await tell('devices', '/.well-known/est/simpleenroll', {
        headers: [
          'Content-Type: application/pkcs10',
          `Authorization: Basic ${Buffer.from(user).toString('base64')}`,
        ],
        body: makeCsr().der.toString('base64'),
      })
    for (const over of [
      { username: secret, password: Buffer.from(secret) },
      ...(secret.includes('PRIVATE') ? [] : [{ clientId: secret }]),
      { clientId: 'lamp-1', username: 'x', password: Buffer.from(secret) },
    ]) {
      using client = await openMqtt(fleet.urls.mqtts, { who: as(lamp) })
      if ((await client.connect({ clientId: 'lamp-1', ...over })) !== 0) continue
      client.send({
        cmd: 'publish',
        topic: `x/${secret.slice(0, 60)}`,
        payload: secret,
        qos: 0,
        dup: false,
        retain: false,
      })
      client.send({ cmd: 'pingreq' })
      await client.until('pingresp').catch(() => undefined)
    }
  }

  beforeAll(async () => {
    fleet = given()
    const claim = await fleet.token({ device_id: 'lamp-1', uses: 2 })
    lamp = await fleet.enroll('lamp-1')
    metricsBefore = await metrics()
    const operator = await fleet.operator.call<{ token: string }>('POST', '/v1/operators', {
      body: { name: 'second', role: 'admin' },
    })
    secrets['claim token'] = secretOf(claim)
    secrets['operator token'] = secretOf(fleet.operatorToken)
    secrets['second operator token'] = secretOf(operator.token)
    secrets['device key'] = lamp.keyPem.split('\n')[1] as string
    // the witness of the registry lies there to be apart from it, and says nothing that is secret
    for (const name of readdirSync(join(fleet.home, 'certs/private')).filter(
      (one) => !one.endsWith('.witness'),
    )) {
      const text = readFileSync(join(fleet.home, 'certs/private', name), 'utf8')
      const line = text.startsWith('-----') ? text.split('\n')[1] : (secretOf(text.trim()) ?? text.trim())
      secrets[name] = (line ?? text).trim()
    }
    await spill('a claim token', claim)
    await spill('an operator token', operator.token)
    await spill('a private key', lamp.keyPem)
    await fleet.resetSeen()
    await ask(fleet.urls.https, '/?q=1', { who: as(lamp) })
    secrets['assertion'] = ((await fleet.seen()).items[0]?.assertion ?? '').split('.')[2] as string
    for (const [name, secret] of Object.entries(secrets))
      expect([name, secret.length > 30]).toEqual([name, true])
  }, 60_000)

  const foundIn = (text: string): string[] =>
    Object.entries(secrets)
      .filter(([, secret]) => text.includes(secret))
      .map(([name]) => name)
  const files = (): string[] =>
    readdirSync(fleet.home, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(fleet.home, join(entry.parentPath, entry.name)))
  const read = (name: string): Buffer => readFileSync(join(fleet.home, name))

  describe('no secret is', () => {
    test('in a log', () => {
      for (const name of files().filter((one) => one.startsWith('log/'))) {
        expect([name, foundIn(read(name).toString('latin1'))]).toEqual([name, []])
        expect(read(name).toString()).not.toMatch(/PRIVATE KEY|eyJ[\w-]{10,}\.eyJ/)
      }
    })

    test('in a reply', () => {
      expect(replies.length).toBeGreaterThan(100)
      // but for the example origin, which says again what it was asked
      expect(replies.filter((reply) => !/"(method|target)"/.test(reply)).flatMap(foundIn)).toEqual([])
    })

    test('in a file that is not for secrets, nor anything that looks like one', () => {
      for (const name of files().filter((one) => !/^(certs\/private|devices|log)\//.test(one))) {
        const bytes = read(name)
        const hidden = [
          ...foundIn(bytes.toString('latin1')),
          ...Object.entries(secrets)
            .filter(
              ([, secret]) => /^[\w-]{43}$/.test(secret) && bytes.includes(Buffer.from(secret, 'base64url')),
            )
            .map(([one]) => one),
        ]
        expect([name, hidden]).toEqual([name, []])
        expect([name, /PRIVATE KEY|"d":"/.test(bytes.toString('latin1'))]).toEqual([name, false])
        // the beginning of an EC private key, PKCS #8
        expect([name, bytes.includes(Buffer.from('020100301306072a8648ce3d0201', 'hex'))]).toEqual([
          name,
          false,
        ])
      }
    })

    test('in a list that the API or the CLI gives, nor its hash', async () => {
      const lists = await Promise.all(
        ['tokens', 'operators', 'devices', 'devices/lamp-1'].map((what) =>
          fleet.operator.call('GET', `/v1/${what}`),
        ),
      )
      const clis = await Promise.all([
        fleet.cli(['token', 'ls', '--json']),
        fleet.cli(['operator', 'token', 'ls', '--json']),
      ])
      const text = JSON.stringify(lists) + clis.map(({ stdout, stderr }) => stdout + stderr).join('')
      expect(clis.map(({ code }) => code)).toEqual([0, 0])
      expect(foundIn(text)).toEqual([])
      const hashes = Object.values(secrets).flatMap((secret) =>
        [secret, Buffer.from(secret, 'base64url')].flatMap((one) =>
          (['hex', 'base64url'] as const).map((form) => createHash('sha256').update(one).digest(form)),
        ),
      )
      expect(hashes.filter((hash) => text.includes(hash))).toEqual([])
    })

    test.skipIf(!existsSync('/proc/self/cmdline'))('in the list of processes or their environment', () => {
      for (const desk of ['enroll', 'gateway', 'origin']) {
        const { pid } = JSON.parse(read(`run/${desk}.json`).toString()) as { pid: number }
        for (const what of ['cmdline', 'environ'])
          expect([desk, what, foundIn(readFileSync(`/proc/${pid}/${what}`, 'latin1'))]).toEqual([
            desk,
            what,
            [],
          ])
      }
    })

    test('in the metrics, and what a stranger says makes no new series', async () => {
      const after = await metrics()
      expect(foundIn(after)).toEqual([])
      expect(after).not.toMatch(/lamp-1|spt1|spo1|127\.0\.0\.1|evil/)
      const before = after.split('\n').length
      for (let n = 0; n < 40; n += 1) {
        await ask(fleet.urls.devices, `/v1/${n}`, {
          method: `M${n}`.replaceAll(/\d/g, (digit) => 'ABCDEFGHIJ'[Number(digit)] as string),
          headers: [`X-${n}: y`],
        })
        await ask(fleet.urls.https, `/evil-${n}`, {
          host: `evil-${n}`,
          serverName: `evil-${n}.test`,
          who: as(lamp),
        })
        await ask(fleet.urls.operator, `/v1/tokens/evil-${n}`, { token: fleet.operatorToken })
        await ask(fleet.urls.status, `/crl/evil-${n}.crl`)
        using client = await openMqtt(fleet.urls.mqtts, { who: as(lamp) })
        await client.connect({ clientId: `evil-${n}` })
      }
      const now = await metrics()
      expect(now).not.toContain('evil')
      expect(now.split('\n').length - before).toBeLessThan(40)
      expect(metricsBefore.length).toBeGreaterThan(100)
    })
  })

  test('a private key that an operator sends by mistake, beside a certificate, is not kept', async () => {
    const put = await ask(fleet.urls.operator, '/v1/anchors/mistaken', {
      method: 'PUT',
      token: fleet.operatorToken,
      host: new URL(fleet.urls.operator).host,
      body: { pem: fleet.rootPem + lamp.keyPem, hostnames: ['mistaken.test'] },
    })
    expect([put.status, put.body.includes(secrets['device key'] as string)]).toEqual([
      expect.toBeOneOf([400, 422]),
      false,
    ])
    const kept = files().filter(
      (name) => name.startsWith('db/') && read(name).includes(secrets['device key'] as string),
    )
    expect(kept).toEqual([])
  })

  describe('files', () => {
    test('with secrets are for their owner, and nothing can be written by others', () => {
      const modes = files().map((name) => [name, statSync(join(fleet.home, name)).mode & 0o777] as const)
      expect(
        modes.filter(([name, mode]) => /^certs\/private\/|\.key$|\.token$/.test(name) && mode !== 0o600),
      ).toEqual([])
      expect(modes.filter(([name, mode]) => /^(db|log)\//.test(name) && (mode & 0o007) !== 0)).toEqual([])
      expect(modes.filter(([, mode]) => (mode & 0o022) !== 0)).toEqual([])
      expect(statSync(join(fleet.home, 'certs/private')).mode & 0o777).toBe(0o700)
    })

    test('of the log are lines of JSON, whatever was said: nobody writes a line of his own', async () => {
      const forged = '"}\n{"level":"info","msg":"forged"}\n\u2028\u001b[31m'
      for (const listener of listeners) {
        await ask(fleet.urls[listener], `/x%0a${encodeURIComponent(forged)}`, { who: as(lamp) })
        await ask(fleet.urls[listener], '/', {
          headers: [
            `X-Request-Id: \u001b[31mforged`,
            `User-Agent: ${forged.replaceAll('\n', ' ').replaceAll('\u2028', '')}`,
          ],
        })
      }
      await ask(fleet.urls.devices, '/v1/enroll', {
        token: await fleet.token(),
        body: { csr: makeCsr({ commonName: forged }).pem, device_id: forged },
      })
      using client = await openMqtt(fleet.urls.mqtts, { who: as(lamp) })
      await client.connect({ clientId: forged, username: forged })
      for (const desk of ['enroll', 'gateway'] as const)
        for (const line of fleet.log(desk).trimEnd().split('\n')) {
          const entry = JSON.parse(line) as { desk?: string; msg?: string }
          expect(entry.desk).toBe(desk)
          expect(entry.msg).not.toBe('forged')
          expect(line).not.toContain('\u001b')
        }
    })
  })

  test('an address is written one way, so that a search for it finds everything it did', async () => {
    for (const bytes of ['nonsense\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'GET /'])
      for (const listener of ['https', 'devices', 'mqtts'] as const) await speak(fleet.urls[listener], bytes)
    for (const desk of ['enroll', 'gateway'] as const)
      expect(
        fleet
          .log(desk)
          .split('\n')
          .filter((line) => line.includes('::ffff:')),
      ).toEqual([])
  })

  test('a refusal says nothing of the machine it was made on', async () => {
    const bad: readonly [(typeof listeners)[number], string, Ask][] = [
      [
        'devices',
        '/v1/enroll',
        { token: await fleet.token(), body: '{"csr":', headers: ['Content-Type: application/json'] },
      ],
      ['devices', '/%ff', {}],
      ['devices', '/v1/enroll', { body: Buffer.alloc(2_000_000) }],
      ['status', '/%ff', {}],
      ['operator', '/v1/devices?limit=x', { token: fleet.operatorToken }],
      ['operator', '/v1/devices?after=%00', { token: fleet.operatorToken }],
      [
        'operator',
        '/v1/apply',
        { token: fleet.operatorToken, body: { anchors: [{ name: 'x', pem: 'x', hostnames: ['x'] }] } },
      ],
      ['https', '/%ff', { who: as(lamp) }],
    ]
    for (const [listener, target, o] of bad) {
      const heard = await ask(fleet.urls[listener], target, o)
      expect([target, heard.raw]).toEqual([
        target,
        expect.not.stringMatching(
          /node_modules|\/work\/|\.ts:|\.js:|\bat \w+ \(|SqliteError|sallyport-test|x-powered-by|fastify|\r\nserver:/i,
        ),
      ])
      expect(heard.status).toBeLessThan(500)
    }
  })
}
