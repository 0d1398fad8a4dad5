/** Requests by programs that are not ours, as a device owner would make them, are read; and readCsr agrees with them on who asks. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { readCsr } from '#pki/csr.ts'
import { makeCsr } from '../support/pki.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const openssl = program('openssl')
const certtool = program('certtool')
const strongswan = program('pki')
const folder = temporaryFolder()
const at = (name: string): string => join(folder.path, name)
afterAll(() => folder[Symbol.dispose]())

describe.skipIf(openssl === undefined)('openssl req', () => {
  test.each<[string, string[]]>([
    ['P-256', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha384']],
    ['P-521', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-521', '-sha512']],
    ['Ed25519', ['ed25519']],
    ['RSA', ['rsa:2048']],
  ])('-newkey %s', async (kind, args) => {
    const names = [
      '-subj',
      '/O=Acme/CN=lamp-1',
      '-addext',
      'subjectAltName=URI:urn:a:b,DNS:lamp.test,IP:10.0.0.1',
    ]
    const ran = await run(openssl as string, [
      'req',
      '-new',
      '-nodes',
      '-keyout',
      at('key.pem'),
      ...names,
      '-newkey',
      ...args,
    ])
    expect(readCsr(ran.stdout)).toMatchObject({
      key: { kind },
      commonName: 'lamp-1',
      sanUris: ['urn:a:b'],
      sanDns: ['lamp.test'],
      sanOthers: 1,
    })
  })

  test.each<[string, string[], string]>([
    [
      'explicit parameters',
      ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt', 'ec_param_enc:explicit'],
      'weak_key',
    ],
    ['RSA-1024', ['-newkey', 'rsa:1024'], 'weak_key'],
    ['SHA-1', ['-newkey', 'rsa:2048', '-sha1'], 'bad_csr'],
    ['RSASSA-PSS', ['-newkey', 'rsa:2048', '-sigopt', 'rsa_padding_mode:pss'], 'bad_csr'],
  ])('%s is refused', async (_, args, code) => {
    const ran = await run(openssl as string, [
      'req',
      '-new',
      '-nodes',
      '-keyout',
      at('odd.pem'),
      '-subj',
      '/CN=lamp-1',
      ...args,
    ])
    expect(() => readCsr(ran.stdout)).toThrow(expect.objectContaining({ code }))
  })

  test('reads and verifies ours', async () => {
    const { pem } = makeCsr({ commonName: 'lamp-1', names: ['urn:a:b'] })
    const ran = await run(openssl as string, ['req', '-verify', '-noout', '-subject'], { input: pem })
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringContaining('CN = lamp-1') as string })
  })
})

test.skipIf(certtool === undefined)('certtool --generate-request', async () => {
  const template = at('template')
  await writeFile(template, 'cn = "lamp-1"\nuri = "urn:a:b"\ntls_www_client\nsigning_key\n')
  await run(certtool as string, [
    '--generate-privkey',
    '--key-type',
    'ecdsa',
    '--curve',
    'secp256r1',
    '--outfile',
    at('g.pem'),
  ])
  const args = [
    '--generate-request',
    '--load-privkey',
    at('g.pem'),
    '--template',
    template,
    '--outfile',
    at('g.csr'),
  ]
  const ran = await run(certtool as string, args)
  expect(ran).toMatchObject({ code: 0 })
  expect(readCsr(await readFile(at('g.csr'), 'utf8'))).toMatchObject({
    commonName: 'lamp-1',
    sanUris: ['urn:a:b'],
  })
})

describe.skipIf(strongswan === undefined)('strongSwan pki --req', () => {
  test.each([
    ['P-256', 'ecdsa', '256'],
    ['Ed25519', 'ed25519', ''],
    ['RSA', 'rsa', '2048'],
  ])('%s', async (kind, type, size) => {
    const gen = await run(strongswan as string, [
      '--gen',
      '--type',
      type,
      ...(size === '' ? [] : ['--size', size]),
      '--outform',
      'pem',
    ])
    await writeFile(at('s.pem'), gen.stdout)
    // the second name is one that it cannot write: it leaves an empty SAN behind
    for (const san of ['lamp.test', 'urn:sallyport:device:lamp-1']) {
      const args = [
        '--req',
        '--in',
        at('s.pem'),
        '--type',
        'priv',
        '--dn',
        'CN=lamp-1',
        '--san',
        san,
        '--outform',
        'pem',
      ]
      const ran = await run(strongswan as string, args)
      expect(readCsr(ran.stdout)).toMatchObject({ commonName: 'lamp-1', key: { kind } })
    }
  })
})
