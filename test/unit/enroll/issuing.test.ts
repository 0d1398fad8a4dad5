/** The status URL stands in certificates, so it cannot change without a word. The other refusals at start: test/system. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openConfiguredIssuer } from '#enroll/issuing.ts'
import { createPki } from '#pki/ceremony.ts'
import type { Config } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { NOW } from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

type Start = Pick<Config, 'environment'> & { readonly url: string; readonly before?: string }

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
  return {
    lines,
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
