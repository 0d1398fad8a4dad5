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

test('a device of the old issuer renews with no more than its leaf, and a start warns that its revocation is published nowhere', async () => {
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

  const renewed = await after.device('/v1/renew', {
    body: { csr: makeCsr({ commonName: 'lamp-1' }).pem },
    tls: enrolled,
  })
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
