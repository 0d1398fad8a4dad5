import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLog } from '#runtime/log.ts'
import { openServerIdentity } from '#runtime/server-identity.ts'
import { makePki, type TestLeaf } from '../../support/pki.ts'
import { replaceFile } from '../../support/served-certificate.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const pki = makePki({ now: Date.now() })
const [one, two] = [pki.server(['one.test']), pki.server(['two.test'])]
const weak = pki.server(['weak.test'], { kind: 'RSA', bits: 1_024 })
/** as a copy is that is not finished: the leaf whole, its issuer not */
const truncated = (leaf: TestLeaf): string => leaf.fullPem.slice(0, -200)
const silent = createLog('gateway', 'silent')
let folder: ReturnType<typeof temporaryFolder>
const files = () => ({ cert: join(folder.path, 'server.pem'), key: join(folder.path, 'server.key') })
const write = (leaf: TestLeaf): void => {
  replaceFile(files().cert, leaf.fullPem)
  replaceFile(files().key, leaf.keyPem)
}
beforeEach(() => {
  folder = temporaryFolder()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
  folder[Symbol.dispose]()
})

describe('at start', () => {
  test.each<[string, () => void]>([
    ['no files', () => {}],
    ['no key', () => replaceFile(files().cert, one.fullPem)],
    [
      'a key of another certificate',
      () => {
        replaceFile(files().cert, one.fullPem)
        replaceFile(files().key, two.keyPem)
      },
    ],
    [
      'a key that others may read',
      () => {
        write(one)
        chmodSync(files().key, 0o644)
      },
    ],
    ['a key that is too weak', () => write(weak)],
    [
      'half of its issuer',
      () => {
        replaceFile(files().cert, truncated(one))
        replaceFile(files().key, one.keyPem)
      },
    ],
    [
      'text that is no PEM',
      () => {
        replaceFile(files().cert, 'hello')
        replaceFile(files().key, 'hello')
      },
    ],
  ])('%s stops the process', (_, prepare) => {
    prepare()
    expect(() => openServerIdentity(files(), silent)).toThrow(
      expect.objectContaining({ code: 'config_invalid' }) as Error,
    )
  })
})

describe('later', () => {
  const opened = () => {
    write(one)
    const changes: number[] = []
    const lines: Record<string, unknown>[] = []
    const log = createLog('gateway', 'info', {
      write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
    })
    const identity = openServerIdentity(files(), log)
    identity.onChange(() => changes.push(1))
    const look = (): void => {
      vi.advanceTimersToNextTimer()
    }
    return { identity, changes, look, lines }
  }
  test('a renewal is taken over', () => {
    const { identity, changes, look } = opened()
    look()
    expect(changes).toHaveLength(0)
    write(two)
    look()
    expect(identity.current()).toEqual({ cert: two.fullPem, key: two.keyPem.trimEnd() })
    expect(changes).toHaveLength(1)
    identity[Symbol.dispose]()
  })
  test('half of one changes nothing, until the other half is there', () => {
    const { identity, changes, look } = opened()
    replaceFile(files().cert, two.fullPem)
    look()
    expect(identity.current().cert).toBe(one.fullPem)
    replaceFile(files().key, two.keyPem)
    look()
    expect(identity.current().cert).toBe(two.fullPem)
    expect(changes).toHaveLength(1)
    identity[Symbol.dispose]()
  })
  test.each<[string, string, string]>([
    ['half of the chain, though the leaf is whole', truncated(two), two.keyPem],
    ['a key that OpenSSL will not serve with', weak.fullPem, weak.keyPem],
  ])('%s changes nothing, and is told once', (_, cert, key) => {
    const { identity, changes, look, lines } = opened()
    replaceFile(files().key, key)
    replaceFile(files().cert, cert)
    for (let at = 0; at < 5; at += 1) look()
    expect(identity.current().cert).toBe(one.fullPem)
    expect(changes).toHaveLength(0)
    expect(lines).toMatchObject([{ level: 'warn' }])
    write(two)
    look()
    expect(identity.current().cert).toBe(two.fullPem)
    identity[Symbol.dispose]()
  })
  test('a listener that throws does not take the process, or the others, along', () => {
    const { identity, look, lines } = opened()
    const heard: number[] = []
    identity.onChange(() => {
      throw new Error('bad end line')
    })
    identity.onChange(() => heard.push(1))
    write(two)
    look()
    expect(heard).toHaveLength(1)
    expect(lines.map(({ level }) => level)).toEqual(['info', 'error'])
    identity[Symbol.dispose]()
  })
})
