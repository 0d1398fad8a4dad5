/** `ca init`, `ca rotate prepare` and `ca show` on files alone: what intermediates name, and who stands where, in words. No desk is asked. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import { DAY } from '#fleet/clock.ts'
import { readCertificates } from '#pki/certificate.ts'
import { crlPointsOf } from '#pki/crl-read.ts'
import { OID } from '#pki/oids.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { loadConfig } from '#runtime/config.ts'
import { makeCa, makePki, type TestCa } from '../../../support/pki.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { fakeIo } from '../fake-io.ts'

const NOW = Date.UTC(2026, 10, 25, 12)

const home = () => {
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, name)
  return {
    at,
    config: () => loadConfig({ desk: 'cli', env: { SALLYPORT_HOME: folder.path }, cwd: folder.path }),
    run: async (env: Readonly<Record<string, string>>, ...args: readonly string[]) => {
      const io = fakeIo({ env: { SALLYPORT_HOME: folder.path, ...env }, cwd: folder.path, now: NOW })
      return { code: await run([...args, '--json'], io), json: () => JSON.parse(io.stdout()) as unknown }
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

const SAID = { SALLYPORT_ENROLL_STATUS_URL: 'http://status.test/' }

describe("where the root's CRL is", () => {
  test.each<[string, Readonly<Record<string, string>>, readonly string[], string | undefined]>([
    ['not said: the default of development is nobody’s word', {}, [], undefined],
    ['by enroll.status_url, when it is set', SAID, [], 'http://status.test'],
    ['by the option, whatever is set', SAID, ['--status-url', 'http://other.test'], 'http://other.test'],
  ])('%s', async (_, env, options, url) => {
    using at = home()
    expect((await at.run(env, 'ca', 'init', ...options)).code).toBe(0)
    const prepared = await at.run(env, 'ca', 'rotate', 'prepare', ...options)
    expect(prepared.code).toBe(0)
    const { certificate } = prepared.json() as { certificate: string }
    const [root] = readCertificates(readFileSync(at.at('certs/root.pem'), 'utf8'))
    const expected = url === undefined ? [] : [`${url}/crl/${root?.subjectKeyId}.crl`]
    for (const path of [at.at('certs/intermediate.pem'), at.at('certs/services.pem'), certificate])
      expect(readCertificates(readFileSync(path, 'utf8')).map(crlPointsOf)).toEqual([expected])
  })
})

describe('ca show, of an issuer under a policy CA', () => {
  const pki = makePki({ now: NOW })
  const { root } = pki
  const policy = makeCa({ name: 'Policy', now: NOW, by: root, notAfter: NOW + 40 * DAY })
  const issuer = makeCa({ name: 'Issuer', now: NOW, by: policy, pathLength: 0, notAfter: NOW + 1_000 * DAY })
  const written = (at: ReturnType<typeof home>, files: Readonly<Record<string, string>>): void => {
    mkdirSync(at.at('certs/private'), { recursive: true })
    mkdirSync(at.at('certs/issuers'), { recursive: true })
    for (const [name, text] of Object.entries(files))
      writeFileSync(at.at(`certs/${name}`), text, { mode: 0o600 })
  }
  const first = async (at: ReturnType<typeof home>): Promise<string | undefined> => {
    const { code, json } = await at.run({}, 'ca', 'show')
    expect(code).toBe(0)
    return (json() as { in_words: string[] }).in_words[0]
  }
  const record = async (at: ReturnType<typeof home>, { ski, der, facts }: TestCa): Promise<void> => {
    const { path } = at.config().registry
    mkdirSync(join(path, '..'), { recursive: true })
    await using registry = await openRegistry({ path, clock: () => NOW })
    await registry.registerIssuer({ ski, der, spkiSha256: facts.spkiSha256, state: 'active' }, NOW)
  }
  const whole =
    /^Certificates are signed by "Issuer" .* signed by "Policy" \(until 2027-01-04, 40 days\), .* signed by the root "Test Root"/
  const both = issuer.pem + policy.pem

  test('before the first start, from the file', async () => {
    using at = home()
    written(at, { 'root.pem': root.pem, 'intermediate.pem': both })
    expect(await first(at)).toMatch(whole)
  })

  test.each([
    ['ca.intermediate', 'intermediate.pem', 'private/intermediate.key'],
    ['ca.issuers', `issuers/${issuer.ski}.pem`, `issuers/${issuer.ski}.key`],
  ])('on record, from the file in %s', async (_, certificate, key) => {
    using at = home()
    written(at, { 'root.pem': root.pem, [certificate]: both, [key]: issuer.keyPem })
    await record(at, issuer)
    expect(await first(at)).toMatch(whole)
  })

  test.each([
    ['before the first start', false],
    ['on record', true],
  ])('one that the desk would not open is not said to sign, %s', async (_, recorded) => {
    using at = home()
    const narrow = makeCa({ name: 'Narrow', now: NOW, by: root, extendedKeyUsage: [OID.serverAuth] })
    const under = makeCa({ name: 'Under', now: NOW, by: narrow, pathLength: 0 })
    written(at, {
      'root.pem': root.pem,
      'intermediate.pem': under.pem + narrow.pem,
      'private/intermediate.key': under.keyPem,
    })
    if (recorded) await record(at, under)
    const { json } = await at.run({}, 'ca', 'show')
    expect((json() as { in_words: string[] }).in_words).toEqual([
      expect.stringMatching(/^Nobody signs certificates: no issuer under the root "Test Root"/),
      'The desk does not take "Under": "Narrow" may not issue client certificates: its extended key usage does not name clientAuth.',
    ])
    // another certificate of the same CA, that says nothing of the kind
    const plain = makeCa({ name: 'Narrow', now: NOW, by: root, key: narrow })
    written(at, { 'intermediate.pem': under.pem + narrow.pem + plain.pem })
    expect(await first(at)).toMatch(/^Certificates are signed by "Under" .* signed by "Narrow" /)
  })

  test('on record, where the file does not say: nobody is said to have signed it', async () => {
    using at = home()
    written(at, {
      'root.pem': root.pem,
      'intermediate.pem': issuer.pem,
      'private/intermediate.key': issuer.keyPem,
    })
    await record(at, issuer)
    expect(await first(at)).toMatch(
      /^Certificates are signed by "Issuer" .*, which stands under the root "Test Root"/,
    )
  })
})
