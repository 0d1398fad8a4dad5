import { chmodSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openServerIdentity } from '#gateway/server-identity.ts'
import { createLog } from '#runtime/log.ts'
import { makePki, type TestLeaf } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const pki = makePki({ now: Date.now() })
const [one, two] = [pki.server(['one.test']), pki.server(['two.test'])]
const silent = createLog('gateway', 'silent')
let folder: ReturnType<typeof temporaryFolder>
const files = () => ({ cert: join(folder.path, 'server.pem'), key: join(folder.path, 'server.key') })
const put = (path: string, text: string): void => {
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
const write = (leaf: TestLeaf): void => {
  put(files().cert, leaf.fullPem)
  put(files().key, leaf.keyPem)
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
    ['no key', () => put(files().cert, one.fullPem)],
    [
      'a key of another certificate',
      () => {
        put(files().cert, one.fullPem)
        put(files().key, two.keyPem)
      },
    ],
    [
      'a key that others may read',
      () => {
        write(one)
        chmodSync(files().key, 0o644)
      },
    ],
    [
      'text that is no PEM',
      () => {
        put(files().cert, 'hello')
        put(files().key, 'hello')
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
    const identity = openServerIdentity(files(), silent)
    identity.onChange(() => changes.push(1))
    const look = (): void => {
      vi.advanceTimersToNextTimer()
    }
    return { identity, changes, look }
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
    put(files().cert, two.fullPem)
    look()
    expect(identity.current().cert).toBe(one.fullPem)
    put(files().key, two.keyPem)
    look()
    expect(identity.current().cert).toBe(two.fullPem)
    expect(changes).toHaveLength(1)
    identity[Symbol.dispose]()
  })
})
