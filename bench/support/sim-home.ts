/** What the simulator and its peers are given: a CA, devices with certificates, and a server that is not ours to talk to. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makePki } from '../../test/support/pki.ts'

export type SimHome = Disposable & {
  readonly path: string
  /** holds a folder for each device, as --certs wants it */
  readonly certs: string
  readonly root: string
  /** of the first device, with its intermediate */
  readonly certificate: string
  readonly key: string
  /** ClientID of it */
  readonly device: string
}

export const makeSimHome = async (devices: number): Promise<SimHome> => {
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  const pki = makePki({ now: Date.now() })
  await pki.writeTo(join(path, 'certs'))
  const certs = join(path, 'devices')
  for (let n = 1; n <= devices; n += 1) {
    const { id, fullPem, keyPem } = pki.device({ id: `bench-${n}` })
    mkdirSync(join(certs, id), { recursive: true })
    writeFileSync(join(certs, id, 'full.pem'), fullPem)
    writeFileSync(join(certs, id, 'key.pem'), keyPem, { mode: 0o600 })
  }
  const first = join(certs, 'bench-1')
  return {
    path,
    certs,
    root: join(path, 'certs/root.pem'),
    certificate: join(first, 'full.pem'),
    key: join(first, 'key.pem'),
    device: 'bench-1',
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true })
    },
  }
}
