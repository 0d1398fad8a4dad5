import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openState } from '#device-sim/life/state.ts'

let base: string
let dir: string
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'sim-state-'))
  dir = join(base, 'fleet')
})
afterEach(() => rm(base, { recursive: true }))

const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

test('keeps a key, then its certificate, and finds both again', async () => {
  const state = await openState(dir)
  expect(await state.load('sim-a-0001')).toBeUndefined()
  await state.keep('sim-a-0001', { keyPem: 'key' })
  expect(await (await openState(dir)).load('sim-a-0001')).toEqual({ keyPem: 'key' })
})

test('private keys are for the owner alone, and nothing half-written stays', async () => {
  const state = await openState(dir)
  await state.seed('a')
  await state.keep('sim-a-0001', { keyPem: 'key' })
  expect(await mode(dir)).toBe(0o700)
  expect(await readdir(dir)).toEqual(['fleet.json', 'sim-a-0001.json'])
  for (const name of await readdir(dir)) expect(await mode(join(dir, name))).toBe(0o600)
})

test('a directory belongs to one seed', async () => {
  expect(await (await openState(dir)).seed('a')).toBe('a')
  expect(await (await openState(dir)).seed(undefined)).toBe('a')
  await expect((await openState(dir)).seed('b')).rejects.toMatchObject({ code: 'config_invalid' })
})

test('without a wish the seed is random and kept', async () => {
  const seed = await (await openState(dir)).seed(undefined)
  expect(seed).toMatch(/^[a-z0-9]{8}$/)
  expect(await (await openState(dir)).seed(undefined)).toBe(seed)
})

test('a file that is not JSON is named', async () => {
  const state = await openState(dir)
  await writeFile(join(dir, 'sim-a-0001.json'), '{')
  await expect(state.load('sim-a-0001')).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringContaining('sim-a-0001.json') as string,
  })
})

test('what could not be written is named until it is', async () => {
  const state = await openState(dir)
  await state.keep('sim-a-0001', { keyPem: 'key' })
  expect(state.unwritten()).toBeUndefined()
  for (const id of ['sim-a-0002', 'sim-a-0003']) {
    // no file can take its place
    await mkdir(join(dir, `${id}.json`))
    await expect(state.keep(id, { keyPem: 'key' })).rejects.toThrow(`${id}.json cannot be written`)
  }
  expect(state.unwritten()).toBe(`${dir}/sim-a-0002.json could not be written, nor 1 others there: EISDIR`)
  for (const id of ['sim-a-0002', 'sim-a-0003']) {
    await rm(join(dir, `${id}.json`), { recursive: true })
    await state.keep(id, { keyPem: 'key' })
  }
  expect(state.unwritten()).toBeUndefined()
})

test('without a directory a key is kept for the run, so that an enrolment asked again is the same one', async () => {
  const state = await openState(undefined)
  await state.keep('x', { keyPem: 'key' })
  expect(await state.load('x')).toEqual({ keyPem: 'key' })
  expect(await (await openState(undefined)).load('x')).toBeUndefined()
})

test('a directory that was there is left as it is', async () => {
  await mkdir(dir)
  await chmod(dir, 0o755)
  await openState(dir)
  expect(await mode(dir)).toBe(0o755)
})

test.each([
  [0o777, false],
  [0o775, false],
  [0o1777, true],
  [0o755, true],
])('others may write into it: %o', async (bits, good) => {
  await mkdir(dir)
  await chmod(dir, bits)
  const opening = openState(dir)
  if (good) await opening
  else
    await expect(opening).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining(`chmod go-w ${dir}`) as string,
    })
})

test('a file in its place', async () => {
  await writeFile(dir, '')
  await expect(openState(dir)).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringContaining('it is no directory') as string,
  })
})

test.each(['{"seed":5}', '{"seed":"../x"}', '{"seed":"a","name":"../x"}', '{}', 'null', '[]'])(
  'a fleet.json of %s',
  async (text) => {
    const state = await openState(dir)
    await writeFile(join(dir, 'fleet.json'), text)
    await expect(state.seed(undefined)).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining('fleet.json') as string,
    })
  },
)

test('what its devices are called after is the seed, until something else is kept', async () => {
  const state = await openState(dir)
  await state.seed('a')
  expect(await state.name('a')).toBe('a')
  expect(await state.name('a', 'a.2')).toBe('a.2')
  const again = await openState(dir)
  expect([await again.seed('a'), await again.name('a')]).toEqual(['a', 'a.2'])
  expect(JSON.parse(await readFile(join(dir, 'fleet.json'), 'utf8'))).toEqual({ seed: 'a', name: 'a.2' })
})
