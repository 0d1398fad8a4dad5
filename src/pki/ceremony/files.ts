/** The files that a ceremony leaves: where they are, and how they come to be whole or not at all. Not what is in them. */

import { randomBytes } from 'node:crypto'
import { access, link, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'

/** Paths below `certs/`. What a desk may read is outside `private/`, but for the intermediate's, the server's and the gateway's key. */
const FILES = {
  root: 'root.pem',
  intermediate: 'intermediate.pem',
  services: 'services.pem',
  chain: 'chain.pem',
  server: 'server.pem',
  gateway: 'gateway.pem',
  rootKey: 'private/root.key',
  intermediateKey: 'private/intermediate.key',
  servicesKey: 'private/services.key',
  serverKey: 'private/server.key',
  gatewayKey: 'private/gateway.key',
} as const

export type PkiPaths = { readonly [K in keyof typeof FILES]: string }

export const pathsIn = (dir: string): PkiPaths =>
  Object.fromEntries(Object.entries(FILES).map(([name, path]) => [name, join(dir, path)])) as PkiPaths

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Everything is written beside its place first and then linked, the root last: a PKI whose root is there is whole. */
export const publish = async (
  dir: string,
  texts: Readonly<Record<keyof PkiPaths, string>>,
): Promise<PkiPaths> => {
  const paths = pathsIn(dir)
  await mkdir(dir, { recursive: true })
  await mkdir(join(dir, 'private'), { recursive: true, mode: 0o700 })
  const there = (
    await Promise.all(Object.values(paths).map(async (path) => ((await exists(path)) ? path : '')))
  ).filter(Boolean)
  if (there.length > 0)
    throw new FleetError('conflict', `there is a PKI already, or a part of one: ${there.join(', ')}`)
  const draft = await mkdtemp(join(dir, '.ceremony-'))
  try {
    await mkdir(join(draft, 'private'), { mode: 0o700 })
    const names = (Object.keys(FILES) as (keyof PkiPaths)[]).toSorted(
      (a, b) => Number(a === 'root') - Number(b === 'root'),
    )
    for (const name of names) {
      const mode = FILES[name].startsWith('private/') ? 0o600 : 0o644
      await writeFile(join(draft, FILES[name]), texts[name], { mode, flag: 'wx', flush: true })
    }
    // link, not rename: it never replaces what came into being meanwhile
    for (const name of names) await link(join(draft, FILES[name]), paths[name])
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return paths
}

type Written = { readonly path: string; readonly text: string; readonly mode: number }

/** Each whole or not at all, in this order, over nothing. @throws conflict */
export const linkAll = async (files: readonly Written[]): Promise<void> => {
  for (const { path, text, mode } of files) {
    const draft = `${path}.${randomBytes(6).toString('hex')}.new`
    try {
      await writeFile(draft, text, { mode, flag: 'wx', flush: true })
      // link, not rename: it never replaces what came into being meanwhile
      await link(draft, path)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
      throw new FleetError('conflict', `${path} exists, and is not overwritten`, { cause })
    } finally {
      await rm(draft, { force: true })
    }
  }
}

/** Each file whole or not at all; all are on disk before the first takes its place, so that key and certificate part for an instant only. */
export const replaceAll = async (files: readonly Written[]): Promise<void> => {
  const suffix = `.${randomBytes(6).toString('hex')}.new`
  try {
    for (const { path, text, mode } of files) {
      await mkdir(dirname(path), { recursive: true, mode: mode === 0o600 ? 0o700 : 0o755 })
      await writeFile(path + suffix, text, { mode, flag: 'wx', flush: true })
    }
    for (const { path } of files) await rename(path + suffix, path)
  } finally {
    for (const { path } of files) await rm(path + suffix, { force: true })
  }
}
