import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openCredentials, type BrokerFiles } from '#gateway/mqtt/brokers/credentials.ts'
import { createLog } from '#runtime/log.ts'
import { makePki } from '../../../../support/pki.ts'
import { temporaryFolder } from '../../../../support/temporary.ts'

const NONE: BrokerFiles = {
  upstream_ca: undefined,
  upstream_cert: undefined,
  upstream_key: undefined,
  upstream_password_file: undefined,
}

describe('files for brokers', () => {
  const folder = temporaryFolder()
  const pki = makePki({ now: Date.now() })
  const lines: string[] = []
  const log = createLog('gateway', 'debug', { write: (line) => void lines.push(line) })
  const file = (name: string, text: string, mode = 0o600): string => {
    const path = join(folder.path, name)
    writeFileSync(path, text, { mode })
    chmodSync(path, mode)
    return path
  }
  const open = (files: Partial<BrokerFiles>) => openCredentials({ ...NONE, ...files }, log, 5)
  let cert = ''
  let key = ''
  beforeAll(() => {
    const leaf = pki.device({ id: 'gateway' })
    cert = file('c.pem', leaf.fullPem)
    key = file('c.key', leaf.keyPem)
  })
  afterAll(() => folder[Symbol.dispose]())

  test('none is fine', () => {
    using credentials = open({})
    expect(credentials.password()).toBeUndefined()
    expect(credentials.context()).toBeDefined()
  })

  test.each<[string, () => Partial<BrokerFiles>, RegExp]>([
    ['roots that are not there', () => ({ upstream_ca: '/nowhere/r.pem' }), /upstream_ca: .* cannot be read/],
    ['roots that are none', () => ({ upstream_ca: file('r', 'hello') }), /holds no certificates/],
    [
      'roots of which one is broken',
      () => ({ upstream_ca: file('r', `${pki.root.pem}\n${pki.root.pem.replace(/M/g, 'N')}`) }),
      /holds no certificates/,
    ],
    [
      'a key that others may read',
      () => ({ upstream_cert: cert, upstream_key: file('open.key', pki.device({ id: 'x' }).keyPem, 0o644) }),
      /may be read by others/,
    ],
    [
      'a key of another',
      () => ({ upstream_cert: cert, upstream_key: file('other.key', pki.device({ id: 'x' }).keyPem) }),
      /is not the key of/,
    ],
    ['a key that is none', () => ({ upstream_cert: cert, upstream_key: file('n.key', 'x') }), /is not PEM/],
    [
      'a password that others may read',
      () => ({ upstream_password_file: file('p', 'secret', 0o640) }),
      /may be read by others/,
    ],
    ['a password of nothing', () => ({ upstream_password_file: file('p', '\n') }), /holds no password/],
    ['a password that is not there', () => ({ upstream_password_file: '/nowhere/p' }), /does not exist/],
  ])('%s: config_invalid', (_, files, words) => {
    const tried = (): unknown => open(files())
    expect(tried).toThrow(words)
    expect(tried).toThrow(expect.objectContaining({ code: 'config_invalid' }))
  })

  test('a new password is used, a bad one is not, and neither is logged', async () => {
    const path = file('password', 'open-sesame-1\n')
    using credentials = open({ upstream_cert: cert, upstream_key: key, upstream_password_file: path })
    const now = (): string => Buffer.from(credentials.password() ?? []).toString()
    expect(now()).toBe('open-sesame-1')
    const before = credentials.context()
    file('password', 'open-sesame-22\n')
    await vi.waitFor(() => expect(now()).toBe('open-sesame-22'))
    expect(credentials.context()).not.toBe(before)
    file('password', '')
    await vi.waitFor(() => expect(lines.join('')).toContain('not usable yet'))
    expect(now()).toBe('open-sesame-22')
    expect(lines.join('')).not.toContain('sesame')
  })
})
