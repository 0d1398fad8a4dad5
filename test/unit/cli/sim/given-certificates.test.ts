/** `--certs DIR`: the three shapes of it, and every way to be wrong said with the file's name. */

import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readGivenCertificates } from '#cli/sim/given-certificates.ts'
import { nameDer } from '#pki/names.ts'
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
const names = async (o: Parameters<typeof readGivenCertificates>[1] = {}): Promise<readonly string[]> =>
  (await readGivenCertificates(dir, o)).map(({ deviceId }) => deviceId)

test('directories, as device enroll leaves them; full.pem holds the intermediates, root.pem the root', async () => {
  put('two/full.pem', b.fullPem)
  put('two/cert.pem', b.certPem)
  put('two/key.pem', b.keyPem)
  put('two/root.pem', pki.root.pem)
  put('one/cert.pem', a.certPem)
  put('one/key.pem', a.keyPem)
  put('notes/readme.txt', 'nothing')
  const [first, second] = await readGivenCertificates(dir)
  expect(first).toMatchObject({ deviceId: 'pump-1', chainPem: '', rootPem: '' })
  expect(second).toMatchObject({ deviceId: 'pump-2', chainPem: b.chainPem, rootPem: pki.root.pem })
  expect(second?.keyPem).toBe(b.keyPem)
  expect((await readGivenCertificates(dir, { rootPem: 'given' })).map(({ rootPem }) => rootPem)).toEqual([
    'given',
    'given',
  ])
  symlinkSync(join(dir, 'one'), join(folder.path, 'link'))
  expect((await readGivenCertificates(join(folder.path, 'link'))).map(({ deviceId }) => deviceId)).toEqual([
    'pump-1',
  ])
})

test('a link to a directory is one', async () => {
  put('real/cert.pem', a.certPem)
  put('real/key.pem', a.keyPem)
  const devices = join(dir, 'devices')
  mkdirSync(devices)
  symlinkSync(join(dir, 'real'), join(devices, 'linked'))
  expect(await readGivenCertificates(devices)).toHaveLength(1)
})

test('no more are read than are asked for', async () => {
  put('a.pem', a.certPem)
  put('a.key', a.keyPem)
  put('b.pem', 'nonsense')
  put('b.key', 'nonsense')
  expect(await names({ most: 1 })).toEqual(['pump-1'])
})

test('NAME.pem or NAME.crt beside NAME.key; the certificate of a CA is no device', async () => {
  put('b.crt', b.fullPem)
  put('b.key', b.keyPem)
  put('a.pem', a.certPem)
  put('a.key', a.keyPem)
  put('ca.pem', pki.root.pem)
  expect(await names()).toEqual(['pump-1', 'pump-2'])
})

test('a --state directory; a device that has no certificate yet is none', async () => {
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
  expect(await names()).toEqual(['sim-x-0001'])
})

test('the directory of one device', async () => {
  put('cert.pem', a.certPem)
  put('key.pem', a.keyPem)
  expect(await names()).toEqual(['pump-1'])
})

test('by HTTPS alone a device may be called after its file: without a common name, or with one that another has', async () => {
  const nobody = pki.device({ subjectDer: nameDer([]) })
  put('gate 1.pem', nobody.certPem)
  put('gate 1.key', nobody.keyPem)
  put('a.pem', a.certPem)
  put('a.key', a.keyPem)
  put('b/cert.pem', a.certPem)
  put('b/key.pem', a.keyPem)
  expect(await names({ named: 'for-https' })).toEqual(['pump-1', 'b', 'gate_1'])
  await expect(readGivenCertificates(dir)).rejects.toThrow(/b: is of the same name as .*a\.pem: pump-1/)
})

test('a Ctrl-C is heard while they are read, and what was read so far is all there is', async () => {
  put('a.pem', a.certPem)
  put('a.key', a.keyPem)
  put('b.pem', b.certPem)
  put('b.key', b.keyPem)
  const stop = new AbortController()
  const reading = names({ signal: stop.signal })
  // between two entries everybody else has a turn
  setImmediate(() => stop.abort())
  expect((await reading).length).toBeLessThan(2)
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
    'no common name, over MQTT',
    () => {
      const nobody = pki.device({ subjectDer: nameDer([]) })
      put('a.pem', nobody.certPem)
      put('a.key', nobody.keyPem)
    },
    /a\.pem: the certificate has no common name, which over MQTT is the ClientID/,
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
])('%s is said with the name of the file', async (_, make, says) => {
  make()
  await expect(readGivenCertificates(dir)).rejects.toThrow(says)
})

test('no such directory', async () => {
  await expect(readGivenCertificates(join(dir, 'none'))).rejects.toThrow(/none: cannot be read \(ENOENT\)/)
})
