/** What files become on record: as which state, in whose place, with which status URL. The other refusals at start: test/system. */

import { createPrivateKey, createPublicKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { lookForIssuers, openConfiguredIssuer } from '#enroll/issuing.ts'
import { DAY } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import { createPki } from '#pki/ceremony.ts'
import { fromPem } from '#pki/pem.ts'
import type { Registry } from '#registry/registry.ts'
import type { Config } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { makeCa, type TestCa } from '../../support/pki.ts'
import { NOW } from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

type Start = Pick<Config, 'environment'> & { readonly url: string; readonly before?: string }

type Renewal = { readonly name: string; readonly notAfter: number }

const setUp = async () => {
  await using opened = new AsyncDisposableStack()
  const dir = mkdtempSync(join(tmpdir(), 'sallyport-issuing-'))
  opened.defer(() => {
    rmSync(dir, { recursive: true })
  })
  const { registry, clock } = opened.use(await openTestRegistry(NOW))
  const pki = await createPki({ dir, now: NOW, serverNames: ['localhost'] })
  const lines: string[] = []
  const log = createLog('enroll', 'info', { write: (line) => lines.push(line) })
  const owned = opened.move()
  const of = (path: string) => {
    const facts = readCertificate(fromPem(readFileSync(path, 'utf8'), 'CERTIFICATE')[0] as Uint8Array)
    return { ...facts, ski: facts.subjectKeyId as string }
  }
  const rootKey = createPrivateKey(readFileSync(join(dir, 'private/root.key')))
  const root = {
    ...of(pki.root),
    privateKey: rootKey,
    publicKey: createPublicKey(rootKey),
  } as unknown as TestCa
  const put = (ca: TestCa): void => {
    writeFileSync(pki.intermediate, ca.pem)
    writeFileSync(pki.intermediateKey, ca.keyPem, { mode: 0o600 })
  }
  return {
    lines,
    dir,
    registry,
    /** another one under the root in its files */
    replace: () => put(makeCa({ name: 'Next', now: NOW, by: root, pathLength: 0 })),
    /** @returns DER */
    renewCa: (over: (ca: Renewal) => Partial<Renewal>): Uint8Array => {
      const { commonName = '', notAfter, ski, subjectDer } = of(pki.intermediate)
      const privateKey = createPrivateKey(readFileSync(pki.intermediateKey))
      const key = { privateKey, publicKey: createPublicKey(privateKey) }
      const wanted = { name: commonName, notAfter, ...over({ name: commonName, notAfter }) }
      const same = wanted.name === commonName ? { subjectDer } : {}
      const ca = makeCa({ ...wanted, ...same, now: NOW, by: root, pathLength: 0, subjectKeyId: ski, key })
      put(ca)
      return ca.der
    },
    start: async ({ environment, url, before }: Start): Promise<void> => {
      const ca = { root: pki.root, intermediate: pki.intermediate, intermediate_key: pki.intermediateKey }
      const enroll = { status_url: url, status_url_before: before }
      const config = { environment, ca, enroll } as Config
      await using _ = await openConfiguredIssuer({ config, registry, clock, log })
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

test('in production another status URL is refused, unless the old one is named', async () => {
  await using desk = await setUp()
  const environment = 'production'
  await desk.start({ environment, url: 'http://a.test' })
  await desk.start({ environment, url: 'http://a.test' })
  for (const before of [undefined, 'http://c.test']) {
    const changed = {
      environment,
      url: 'http://b.test',
      ...(before === undefined ? {} : { before }),
    } as const
    await expect(desk.start(changed)).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining('expected http://a.test'),
    })
  }
  expect(desk.lines).toEqual([])
  await desk.start({ environment, url: 'http://b.test', before: 'http://a.test' })
  expect(desk.lines.join('')).toContain('enroll.status_url has changed')
  // the setting may stay in the file
  await desk.start({ environment, url: 'http://b.test', before: 'http://a.test' })
  expect(desk.lines).toHaveLength(1)
})

test('in development it changes with the ports, and is said', async () => {
  await using desk = await setUp()
  await desk.start({ environment: 'development', url: 'http://localhost:1' })
  await desk.start({ environment: 'development', url: 'http://localhost:2' })
  expect(desk.lines).toHaveLength(1)
})

describe('what is configured', () => {
  const URL = 'http://a.test'
  const environment = 'production'
  const states = async ({ registry }: { readonly registry: Registry }) =>
    (await registry.issuers()).map(({ state }) => state)

  test('is active as the first of all; files that were replaced are prepared, and sign when they are activated', async () => {
    await using desk = await setUp()
    await desk.start({ environment, url: URL })
    expect(await states(desk)).toEqual(['active'])
    await desk.start({ environment, url: URL })
    expect(await states(desk)).toEqual(['active'])

    desk.replace()
    await desk.start({ environment, url: URL })
    expect(await states(desk)).toEqual(['active', 'prepared'])
    // it keeps the state that it has
    const [, next] = await desk.registry.issuers()
    const move = { ski: next?.ski ?? '', now: NOW, actor: 'operator:x' } as const
    await desk.registry.moveIssuer({ ...move, from: ['prepared'], to: 'offered' })
    await desk.registry.moveIssuer({ ...move, from: ['offered'], to: 'active' })
    await desk.start({ environment, url: URL })
    expect(await states(desk)).toEqual(['retiring', 'active'])
  })

  test.each<[string, (ca: Renewal) => Partial<Renewal>, 'taken' | 'kept' | 'refused']>([
    ['with a later end', ({ notAfter }) => ({ notAfter: notAfter + DAY }), 'taken'],
    ['with an earlier end', ({ notAfter }) => ({ notAfter: notAfter - DAY }), 'kept'],
    ['with another name', ({ notAfter }) => ({ notAfter: notAfter + DAY, name: 'Other' }), 'refused'],
  ])('a CA certificate made anew for the same key, %s: %s', async (_, over, outcome) => {
    await using desk = await setUp()
    await desk.start({ environment, url: URL })
    const [before] = await desk.registry.issuers()
    const anew = desk.renewCa(over)
    const start = desk.start({ environment, url: URL })
    if (outcome === 'refused')
      await expect(start).rejects.toMatchObject({
        code: 'config_invalid',
        detail: expect.stringContaining('another subject'),
      })
    else await start
    const [after, ...more] = await desk.registry.issuers()
    expect(more).toEqual([])
    expect(Buffer.from(after?.der ?? [])).toEqual(
      Buffer.from(outcome === 'taken' ? anew : (before?.der ?? [])),
    )
  })
})

test('ca.intermediate that cannot be read hides nothing else, and is told apart', async () => {
  await using desk = await setUp()
  const found = lookForIssuers({
    ca: { intermediate: join(desk.dir, 'nothing.pem'), intermediate_key: '', issuers: desk.dir },
  } as Config)
  expect(found.failed).toMatchObject({ code: 'config_invalid' })
  // the files of the PKI, none of which is called as an issuer is
  expect(found.problems.length).toBeGreaterThan(0)
  expect(found.places).toEqual([])
})
