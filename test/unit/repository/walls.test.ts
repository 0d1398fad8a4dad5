/** Who may import whom (docs/architecture.md), planted import by import in a copy of the tree's outline, and shown to the linter. */

import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../../support/temporary.ts'

const ROOT = join(import.meta.dirname, '../../..')

const ROOMS = [
  'fleet',
  'wire',
  'pki',
  'policy',
  'trust',
  'registry',
  'runtime',
  'enroll',
  'gateway',
  'device-sim',
  'cli',
]
const VISITED = ['#runtime/config.ts', '#runtime/run.ts', '#runtime/run-file.ts']
const NODE = ['node:fs', 'node:fs/promises', 'node:crypto']

/** What each place may import; `x.ts` stands for any file of a room. Everything else in {@link everything} must be refused. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  'fleet/x.ts': [],
  'wire/x.ts': ['#fleet/x.ts', 'typebox'],
  'pki/x.ts': ['#fleet/x.ts', 'node-forge', 'node:crypto'],
  'pki/ceremony.ts': ['#fleet/x.ts', 'node-forge', ...NODE],
  'pki/ceremony/x.ts': ['#fleet/x.ts', 'node-forge', ...NODE],
  'policy/x.ts': ['#fleet/x.ts', '#wire/x.ts'],
  'policy/client-id.ts': ['#fleet/x.ts', '#wire/x.ts', 'node:crypto'],
  'trust/x.ts': ['#fleet/x.ts', '#pki/x.ts', '#policy/x.ts'],
  'registry/x.ts': ['#fleet/x.ts', 'better-sqlite3', ...NODE],
  'runtime/x.ts': ['#fleet/x.ts', '#wire/x.ts', '#pki/x.ts', 'pino', 'prom-client', 'yaml', ...NODE],
  'enroll/x.ts': [
    ...['fleet', 'wire', 'pki', 'policy', 'trust', 'registry', 'runtime'].map((room) => `#${room}/x.ts`),
    ...VISITED,
    '#pki/issuer.ts',
    'fastify',
    '@fastify/ajv-compiler',
    '@fastify/fast-json-stringify-compiler',
    '@fastify/swagger',
    'jose',
    'undici',
    ...NODE,
  ],
  'gateway/x.ts': [
    ...['fleet', 'wire', 'pki', 'policy', 'trust', 'registry', 'runtime'].map((room) => `#${room}/x.ts`),
    ...VISITED,
    'undici',
    'jose',
    'aedes',
    'ws',
    ...NODE,
  ],
  'device-sim/x.ts': [
    '#fleet/x.ts',
    '#wire/x.ts',
    ...VISITED,
    'mqtt',
    'undici',
    'node-forge',
    'hdr-histogram-js',
    'yaml',
    'prom-client',
    '#device-sim/index.ts',
    ...NODE,
  ],
  'cli/x.ts': [
    '#fleet/x.ts',
    '#wire/x.ts',
    ...VISITED,
    '#device-sim/index.ts',
    'commander',
    'csv-parse',
    'yaml',
    ...NODE,
  ],
  'cli/offline/x.ts': [
    '#fleet/x.ts',
    '#wire/x.ts',
    ...VISITED,
    '#device-sim/index.ts',
    '#pki/x.ts',
    '#pki/issuer.ts',
    '#pki/ceremony.ts',
    '#registry/x.ts',
    'commander',
    'yaml',
    ...NODE,
  ],
}
/** The same room by another depth. */
const DEEP = ['gateway/https/x.ts', 'gateway/mqtt/embedded/x.ts', 'enroll/deep/x.ts', 'pki/deep/x.ts']

const packageJson = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>
  imports: Record<string, string>
}

const everything = [
  ...ROOMS.map((room) => `#${room}/x.ts`),
  '#pki/issuer.ts',
  '#pki/ceremony.ts',
  '#pki/ceremony/x.ts',
  '#device-sim/index.ts',
  '#registry/sqlite/open.ts',
  ...VISITED,
  ...Object.keys(packageJson.dependencies),
  'left-pad',
  '@scope/left-pad',
  'fs',
  ...NODE,
  'node:module',
]

const roomOf = (place: string): string => place.split('/')[0] as string
const rowOf = (place: string): readonly string[] => ROWS[place] ?? ROWS[`${roomOf(place)}/x.ts`] ?? []
const isAllowed = (place: string, specifier: string): boolean =>
  specifier.startsWith(`#${roomOf(place)}/`) || rowOf(place).includes(specifier)

/** Ways out of a room that name no room. */
const escapesFrom = (place: string): string[] => {
  const up = '../'.repeat(place.split('/').length - 1)
  const other = roomOf(place) === 'fleet' ? 'wire' : 'fleet'
  return [
    `${up}${other}/x.ts`,
    `./${up}${other}/x.ts`,
    `./no/../${up}${other}/x.ts`,
    `${up}../src/${other}/x.ts`,
  ]
}

type Refusal = { readonly line: number; readonly code: string; readonly help: string }
type Planted = { readonly place: string; readonly lines: readonly string[] }

const run = promisify(execFile)
const folder = temporaryFolder()

/** @returns what oxlint says of each file, by path below src/ */
const lint = async (planted: readonly Planted[], ...flags: string[]): Promise<Map<string, Refusal[]>> => {
  for (const { place, lines } of planted) {
    const path = join(folder.path, 'src', place)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, `${lines.join('\n')}\n`)
  }
  const { stdout } = await run(join(ROOT, 'node_modules/.bin/oxlint'), ['-f', 'json', ...flags], {
    cwd: folder.path,
    maxBuffer: 64 * 1_048_576,
  }).catch((failed: { stdout: string }) => failed)
  const { diagnostics } = JSON.parse(stdout) as {
    diagnostics: {
      code: string
      help?: string
      filename: string
      labels: { span: { line: number } }[]
    }[]
  }
  const found = new Map(planted.map(({ place }) => [place, [] as Refusal[]]))
  for (const { code, help = '', filename, labels } of diagnostics)
    found.get(filename.replace(/^src\//, ''))?.push({ code, help, line: labels[0]?.span.line ?? 0 })
  return found
}

const PLACES = [...Object.keys(ROWS), ...DEEP]
const specifiersOf = (place: string): string[] => [...everything, ...escapesFrom(place)]
let refusals: Map<string, Refusal[]>

beforeAll(async () => {
  for (const name of ['.oxlintrc.json', 'package.json', 'tsconfig.json'])
    cpSync(join(ROOT, name), join(folder.path, name))
  symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'))
  refusals = await lint([
    ...PLACES.map((place) => ({ place, lines: specifiersOf(place).map((each) => `import '${each}'`) })),
    // other ways to say it
    { place: 'fleet/export-all.ts', lines: ["export * from '#wire/x.ts'"] },
    { place: 'fleet/export-some.ts', lines: ["export { x } from '#wire/x.ts'"] },
    { place: 'fleet/import-type.ts', lines: ["import type { X } from '#wire/x.ts'", 'export type Y = X'] },
    { place: 'fleet/import-late.ts', lines: ["export const x = await import('#wire/x.ts')"] },
    { place: 'fleet/type-of-import.ts', lines: ["export type X = import('#wire/x.ts').X"] },
    // named things
    {
      place: 'gateway/writes.ts',
      lines: ["import { openRegistry } from '#registry/sqlite.ts'", 'void openRegistry'],
    },
    {
      place: 'gateway/reads.ts',
      lines: ["import { openRegistryReader } from '#registry/sqlite.ts'", 'void openRegistryReader'],
    },
    {
      place: 'gateway/reads-inbox.ts',
      lines: ["import { openInboxReader } from '#registry/inbox.ts'", 'void openInboxReader'],
    },
    // cycles, through the imports map
    {
      place: 'enroll/a.ts',
      lines: ["import { b } from '#enroll/b.ts'", 'export const a = (): number => b()'],
    },
    { place: 'enroll/b.ts', lines: ["import { a } from './a.ts'", 'export const b = (): number => a()'] },
    // manners
    { place: 'enroll/default.ts', lines: ['export default 1'] },
    { place: 'enroll/console.ts', lines: ["console.log('x')"] },
    { place: 'enroll/now.ts', lines: ['export const now = Date.now()'] },
    { place: 'enroll/environment.ts', lines: ["export const home = process.env['HOME']"] },
    { place: 'enroll/exit.ts', lines: ['process.exit(1)'] },
    { place: 'enroll/main.ts', lines: ["process.exit(Date.now() > 1 ? Number(process.env['X']) : 0)"] },
    { place: 'cli/print.ts', lines: ["console.log('x')"] },
  ])
})
afterAll(() => {
  folder[Symbol.dispose]()
})

const wall = 'eslint(no-restricted-imports)'

it('has a row for every room of the imports map', () => {
  const rooms = Object.keys(packageJson.imports).map((key) => roomOf(key.slice(1)))
  expect([...new Set(Object.keys(ROWS).map(roomOf))].toSorted()).toEqual(rooms.toSorted())
})

describe.each(PLACES)('src/%s', (place) => {
  it('is refused every import that its row does not name, and no other', () => {
    const refused = (refusals.get(place) ?? []).filter(({ code }) => code === wall).map(({ line }) => line)
    const expected = specifiersOf(place).flatMap((each, at) => (isAllowed(place, each) ? [] : [at + 1]))
    expect(named(place, refused)).toEqual(named(place, expected))
  })

  it('is told why', () => {
    for (const { code, help } of refusals.get(place) ?? [])
      if (code === wall) expect(help).toContain('docs/architecture.md')
  })
})

const named = (place: string, lines: readonly number[]): string[] =>
  [...new Set(lines)].map((line) => specifiersOf(place)[line - 1] ?? `line ${line}`).toSorted()

describe('what is written otherwise', () => {
  it.each([
    ['fleet/export-all.ts', wall],
    ['fleet/export-some.ts', wall],
    ['fleet/import-type.ts', wall],
    ['fleet/import-late.ts', wall],
    ['fleet/type-of-import.ts', 'typescript(consistent-type-imports)'],
    ['gateway/writes.ts', wall],
    ['gateway/reads.ts', undefined],
    ['gateway/reads-inbox.ts', wall],
    ['enroll/a.ts', 'import(no-cycle)'],
    ['enroll/default.ts', 'import(no-default-export)'],
    ['enroll/console.ts', 'eslint(no-console)'],
    ['enroll/now.ts', 'eslint(no-restricted-properties)'],
    ['enroll/environment.ts', 'node(no-process-env)'],
    ['enroll/exit.ts', 'eslint(no-restricted-properties)'],
    ['enroll/main.ts', undefined],
    ['cli/print.ts', undefined],
  ])('%s → %s', (place, code) => {
    const codes = (refusals.get(place) ?? []).map((each) => each.code)
    if (code === undefined) expect(codes).toEqual([])
    else expect(codes).toContain(code)
  })
})

it('sees promises that nobody waits for', async () => {
  const lines = [
    'const later = (): Promise<boolean> => Promise.resolve(true)',
    'export const forgotten = (): void => {',
    '  later()',
    '}',
    'export const always = (): number => (later() ? 1 : 0)',
  ]
  const found = await lint([{ place: 'enroll/promises.ts', lines }], '--type-aware', 'src/enroll/promises.ts')
  expect((found.get('enroll/promises.ts') ?? []).map(({ code, line }) => [code, line])).toEqual([
    ['typescript(no-floating-promises)', 3],
    ['typescript(no-misused-promises)', 5],
  ])
})
