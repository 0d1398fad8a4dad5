/** `--certs DIR`: the three shapes of it, and every way to be wrong said with the file's name. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readGivenCertificates } from '#cli/sim/given-certificates.ts'
import { makePki, type TestLeaf } from '../../../support/pki.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())
const pki = makePki({ now: Date.now() })
let a: TestLeaf
let b: TestLeaf
beforeAll(() => {
  a = pki.device({ id: 'pump-1' })
  b = pki.device({ id: 'pump-2' })
})

let count = 0
let dir: string
beforeEach(() => {
  dir = join(folder.path, String(++count))
  mkdirSync(dir)
})
const put = (path: string, text: string): void => {
  mkdirSync(join(dir, path, '..'), { recursive: true })
  writeFileSync(join(dir, path), text)
}
const names = (): readonly string[] => readGivenCertificates(dir).map(({ deviceId }) => deviceId)

test('directories, as device enroll leaves them; full.pem holds the intermediates, root.pem the root', () => {
  put('two/full.pem', b.fullPem)
  put('two/cert.pem', b.certPem)
  put('two/key.pem', b.keyPem)
  put('two/root.pem', pki.root.pem)
  put('one/cert.pem', a.certPem)
  put('one/key.pem', a.keyPem)
  put('notes/readme.txt', 'nothing')
  const [first, second] = readGivenCertificates(dir)
  expect(first).toMatchObject({ deviceId: 'pump-1', chainPem: '', rootPem: '' })
  expect(second).toMatchObject({ deviceId: 'pump-2', chainPem: b.chainPem, rootPem: pki.root.pem })
  expect(second?.keyPem).toBe(b.keyPem)
  expect(readGivenCertificates(dir, { rootPem: 'given' }).map(({ rootPem }) => rootPem)).toEqual([
    'given',
    'given',
  ])
  symlinkSync(join(dir, 'one'), join(folder.path, 'link'))
  expect(readGivenCertificates(join(folder.path, 'link')).map(({ deviceId }) => deviceId)).toEqual(['pump-1'])
})

test('a link to a directory is one', () => {
  put('real/cert.pem', a.certPem)
  put('real/key.pem', a.keyPem)
  const devices = join(dir, 'devices')
  mkdirSync(devices)
  symlinkSync(join(dir, 'real'), join(devices, 'linked'))
  expect(readGivenCertificates(devices)).toHaveLength(1)
})

test('no more are read than are asked for', () => {
  put('a.pem', a.certPem)
  put('a.key', a.keyPem)
  put('b.pem', 'nonsense')
  put('b.key', 'nonsense')
  expect(readGivenCertificates(dir, { most: 1 }).map(({ deviceId }) => deviceId)).toEqual(['pump-1'])
})

test('NAME.pem or NAME.crt beside NAME.key; the certificate of a CA is no device', () => {
  put('b.crt', b.fullPem)
  put('b.key', b.keyPem)
  put('a.pem', a.certPem)
  put('a.key', a.keyPem)
  put('ca.pem', pki.root.pem)
  expect(names()).toEqual(['pump-1', 'pump-2'])
})

test('a --state directory; a device that has no certificate yet is none', () => {
  const enrolled = {
    deviceId: 'sim-x-0001',
    keyPem: a.keyPem,
    certificatePem: a.certPem,
    chainPem: a.chainPem,
    rootPem: pki.root.pem,
    notAfter: 1,
    renewAfter: 1,
    serial: '0a',
  }
  put('fleet.json', '{"seed":"x"}')
  put('sim-x-0001.json', JSON.stringify({ keyPem: a.keyPem, enrolled }))
  put('sim-x-0002.json', JSON.stringify({ keyPem: b.keyPem }))
  expect(names()).toEqual(['sim-x-0001'])
})

test('the directory of one device', () => {
  put('cert.pem', a.certPem)
  put('key.pem', a.keyPem)
  expect(names()).toEqual(['pump-1'])
})

test.each<[string, () => void, RegExp]>([
  ['nothing', () => {}, /holds no identity: expected directories/],
  [
    'a key of another certificate',
    () => {
      put('a.pem', a.certPem)
      put('a.key', b.keyPem)
    },
    /a\.key: is not the key of .*a\.pem/,
  ],
  ['no key', () => put('one/cert.pem', a.certPem), /one: holds no key\.pem/],
  [
    'no certificate in it',
    () => {
      put('one/cert.pem', 'nonsense')
      put('one/key.pem', a.keyPem)
    },
    /cert\.pem: holds no certificate in PEM/,
  ],
  [
    'a broken certificate',
    () => {
      put('one/cert.pem', a.certPem.replace(/(BEGIN CERTIFICATE-----\n).{32}/, '$1'))
      put('one/key.pem', a.keyPem)
    },
    /cert\.pem: holds a certificate that cannot be read/,
  ],
  [
    'no key in it',
    () => {
      put('a.crt', a.certPem)
      put('a.key', 'nonsense')
    },
    /a\.key: holds no private key in PEM/,
  ],
  [
    'a device whose key is not beside it',
    () => {
      put('a.pem', a.certPem)
      put('a.key', a.keyPem)
      put('b.pem', b.certPem)
    },
    /b\.pem: is the certificate of a device, and its key is not beside it \(b\.key\)/,
  ],
  [
    'a directory with a key alone',
    () => put('one/key.pem', a.keyPem),
    /one: holds a key\.pem, and no cert\.pem/,
  ],
  [
    'a pipe',
    () => {
      put('a.key', a.keyPem)
      spawnSync('mkfifo', [join(dir, 'a.pem')])
    },
    /a\.pem: is no file/,
  ],
  [
    'two of one name',
    () => {
      put('a.crt', a.certPem)
      put('a.key', a.keyPem)
      put('b.crt', a.certPem)
      put('b.key', a.keyPem)
    },
    /b\.crt: is of the same name as .*a\.crt: pump-1/,
  ],
  [
    'too large',
    () => {
      put('a.crt', 'x'.repeat(300_000))
      put('a.key', a.keyPem)
    },
    /a\.crt: is larger than 262144 octets/,
  ],
  [
    'not JSON',
    () => {
      put('fleet.json', '{}')
      put('x.json', '{')
    },
    /x\.json: is no JSON/,
  ],
  [
    'no device of a state',
    () => {
      put('fleet.json', '{}')
      put('x.json', '{"enrolled":{}}')
    },
    /x\.json: is no device of a --state directory/,
  ],
])('%s is said with the name of the file', (_, make, says) => {
  make()
  expect(() => readGivenCertificates(dir)).toThrow(says)
})

test('no such directory', () => {
  expect(() => readGivenCertificates(join(dir, 'none'))).toThrow(/none: cannot be read \(ENOENT\)/)
})
