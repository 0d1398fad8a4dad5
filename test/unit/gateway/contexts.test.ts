import type { SecureContext, TlsOptions } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { createContexts } from '#gateway/contexts.ts'

const known = {} as SecureContext
const open = () => {
  const asked: string[] = []
  const problems: unknown[] = []
  let made = 0
  const contexts = createContexts({
    contextFor: (hostname) => {
      asked.push(hostname)
      if (hostname === 'broken.test') throw new Error('bad anchor')
      return hostname === 'a.test' ? known : undefined
    },
    options: () => ({ handshakeTimeout: (made += 1) }),
    problem: (error) => problems.push(error),
  })
  return { contexts, asked, problems }
}
const ask = (options: TlsOptions, name: string): Promise<unknown> =>
  new Promise((resolve) => {
    options.SNICallback?.(name, (error, context) => {
      resolve(error ?? context)
    })
  })

describe('by server name', () => {
  test.each(['a.test', 'A.TEST', 'a.test.'])('%s', async (name) => {
    const { contexts, asked } = open()
    expect(await ask(contexts.server, name)).toBe(known)
    expect(asked).toEqual(['a.test'])
  })
  test('an unknown one gets the default, which trusts nobody', async () => {
    expect(await ask(open().contexts.server, 'b.test')).toBeUndefined()
  })
  test('a failure ends this handshake, not the process', async () => {
    expect(await ask(open().contexts.server, 'broken.test')).toBeInstanceOf(Error)
  })
})

test('a reload hands out new options', () => {
  const { contexts } = open()
  const given: TlsOptions[] = []
  contexts.onReload((options) => given.push(options))
  contexts.reload()
  contexts.reload()
  expect(contexts.server.handshakeTimeout).toBe(1)
  expect(given.map(({ handshakeTimeout }) => handshakeTimeout)).toEqual([2, 3])
})

test('a door that cannot take the new options goes on, and so does the next one', () => {
  const { contexts, problems } = open()
  const given: TlsOptions[] = []
  contexts.onReload(() => {
    throw new Error('bad end line')
  })
  contexts.onReload((options) => given.push(options))
  contexts.reload()
  expect(problems).toMatchObject([{ message: 'bad end line' }])
  expect(given).toHaveLength(1)
})
