/** After the intermediate was replaced: devices of the old one renew, and what cannot be done for them is said. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { sha256Hex } from '#pki/keys.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { makeHome, startDesk } from '../support/enroll-desk.ts'
import { keyPemOf, makeCa, makeCsr } from '../support/pki.ts'
import { temporaryFolder } from '../support/temporary.ts'

test('another ca.intermediate signs nothing until it is activated; then a device of the old one renews with no more than its leaf, and a start has warned that its revocation is published nowhere', async () => {
  using folder = temporaryFolder()
  const home = await makeHome(folder.path)
  const enrolled = await (async () => {
    await using before = await startDesk({ home })
    const { text } = await before.claim()
    const csr = makeCsr({ commonName: 'lamp-1' })
    const answer = await before.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
    expect(answer.status).toBe(201)
    expect(before.logLines.join('')).not.toContain('an issuer of before')
    return { cert: answer.json?.['certificate'] as string, key: keyPemOf(csr.privateKey) }
  })()

  const next = makeCa({ name: 'Next Devices', now: Date.now(), by: home.pki.root, pathLength: 0 })
  writeFileSync(join(folder.path, 'certs/intermediate.pem'), next.pem)
  writeFileSync(join(folder.path, 'certs/private/intermediate.key'), next.keyPem, { mode: 0o600 })
  await using after = await startDesk({ home })
  const warnings = after.logLines.filter((line) => line.includes('an issuer of before'))
  expect(warnings.map((line) => (JSON.parse(line) as { issuer: string }).issuer)).toEqual([
    home.pki.devices.ski,
  ])

  const renew = () =>
    after.device('/v1/renew', { body: { csr: makeCsr({ commonName: 'lamp-1' }).pem }, tls: enrolled })
  const refused = await renew()
  expect([refused.status, refused.json?.['reason']]).toEqual([503, 'issuer_unusable'])
  const said = `ca rotate distribute ${next.ski}, then sallyport ca rotate activate ${next.ski} (nobody signs now`
  expect(after.logLines.join('\n')).toContain(said)
  const scanned = await after.operator('/v1/issuers', { body: {} })
  expect(scanned.json?.['notes']).toEqual([expect.stringContaining(said)])

  // what it says is what helps; nobody is cut off by a chain that was not told before, for nobody else signs
  expect((await after.operator(`/v1/issuers/${next.ski}/distribute`, { body: {} })).status).toBe(200)
  const early = await after.operator(`/v1/issuers/${next.ski}/activate`, { body: {} })
  expect([early.status, early.json?.['reason']]).toEqual([409, 'conflict'])
  const forced = await after.operator(`/v1/issuers/${next.ski}/activate`, { body: { force: true } })
  expect(forced.status).toBe(200)

  const renewed = await renew()
  expect([renewed.status, renewed.json?.['reason']]).toEqual([201, undefined])
  expect(renewed.json?.['chain']).toBe(next.pem)
})

test('an issuer of before without a certificate that lives is not worth a word', async () => {
  using folder = temporaryFolder()
  const home = await makeHome(folder.path)
  const old = makeCa({ name: 'Old', now: Date.now(), by: home.pki.root, pathLength: 0 })
  {
    await using registry = await openRegistry({ path: home.registryPath, clock: Date.now })
    const { ski, der } = old
    await registry.registerIssuer({ ski, der, spkiSha256: sha256Hex(der) }, Date.now() - DAY)
  }
  await using desk = await startDesk({ home })
  expect(desk.logLines.join('')).not.toContain('an issuer of before')
})
