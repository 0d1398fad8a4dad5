/**
 * SIGKILL at a random instant under 200 concurrent enrolments, again and again on the same home: nothing that a client was given is
 * lost, nothing on record is untrue, nothing is spent twice, and whoever was cut off completes what was begun.
 *
 * The instants come from BREAK_SEED (printed): the same seed kills after the same replies, though never after the same instruction.
 */

import { randomBytes, X509Certificate } from 'node:crypto'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import { createRandom, type Random } from '#device-sim/random.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { startDeskProcess } from '../../support/desk-process.ts'
import { addClaimToken, makeHome } from '../../support/enroll-desk.ts'
import { certificateOfEst, certificateOfRest, reasonIn, sha256 } from '../../support/issued.ts'
import { enrolmentBytes, openLines, type Line, type Reply } from '../../support/lines.ts'
import { makeCsr } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { verifyRows } from '../../support/verified-rows.ts'

const ROUNDS = 30
const CROWD = 200
/** In each round at least so many come for the first time; the others were cut off before, or ask again for what they have. */
const NEW_EACH_ROUND = 100
/** One token of so many uses, so many keys that want one. */
const SHARED = { uses: 3, keys: 5 }

type Wish = {
  readonly bytes: Readonly<Record<'REST' | 'EST', string>>
  readonly token: string
  readonly shared: boolean
  /** fingerprints of what it was given: one, whenever it asked */
  readonly held: Set<string>
}

const makeWishes = async (path: string, rootSha256: string, count: number): Promise<Wish[]> => {
  await using registry = await openRegistry({ path, clock: systemClock })
  const wishes: Wish[] = []
  const add = async (uses: number, keys: number): Promise<void> => {
    const { text, token } = await addClaimToken(registry, rootSha256, { uses })
    for (let n = 0; n < keys; n += 1) {
      const csr = makeCsr({ commonName: `load-${token.id}-${n}` })
      const [rest, est] = (['REST', 'EST'] as const).map((over) => enrolmentBytes(over, { token: text, csr }))
      wishes.push({
        bytes: { REST: rest as string, EST: est as string },
        token: token.id,
        shared: keys > 1,
        held: new Set(),
      })
    }
  }
  const tokens: Promise<void>[] = []
  for (let made = 0; made < count; made += 90 + 2 * SHARED.keys) {
    for (let n = 0; n < 90; n += 1) tokens.push(add(1, 1))
    for (let n = 0; n < 2; n += 1) tokens.push(add(SHARED.uses, SHARED.keys))
  }
  await Promise.all(tokens)
  return wishes
}

/** @returns what it was refused with, if it was */
const take = (wish: Wish, over: 'REST' | 'EST', reply: Reply | undefined): string | undefined => {
  if (reply === undefined) return undefined
  if (reply.status !== (over === 'REST' ? 201 : 200)) return `${reply.status} ${reasonIn(reply.body)}`
  wish.held.add(sha256(over === 'REST' ? certificateOfRest(reply.body) : certificateOfEst(reply.body)))
  return undefined
}

/** Rows `intended`, counted in a copy: reading the files themselves would recover their log before the next desk can. */
const leftHalfWay = (path: string, folder: string): number => {
  const copy = join(folder, 'copy.sqlite')
  for (const end of ['', '-wal']) copyFileSync(`${path}${end}`, `${copy}${end}`)
  const database = new Database(copy)
  try {
    return (
      database
        .prepare<[], number>("select count(*) from certificates where state = 'intended'")
        .pluck()
        .get() ?? 0
    )
  } finally {
    database.close()
    rmSync(copy)
  }
}

/** Some of `from`, taken out of it. */
const draw = <T>(from: T[], count: number, random: Random): T[] =>
  Array.from({ length: Math.min(count, from.length) }, () => {
    const at = Math.floor(random.between(0, from.length))
    const [drawn] = from.splice(at, 1, from.at(-1) as T)
    from.pop()
    return drawn as T
  })

test(`${ROUNDS} SIGKILLs under ${CROWD} enrolments each`, { timeout: 240_000 }, async ({ annotate }) => {
  const seed = process.env['BREAK_SEED'] ?? randomBytes(4).toString('hex')
  await annotate(`BREAK_SEED=${seed}`)
  const random = createRandom(seed, 'kill')
  using folder = temporaryFolder()
  const home = await makeHome(folder.path)
  const tls = { ca: home.pki.root.pem }
  // Made before the first start, and nobody but the desks opens the registry until the end: they alone recover its log.
  const fresh = await makeWishes(home.registryPath, home.pki.root.facts.fingerprint, ROUNDS * CROWD * 0.75)
  const cut: Wish[] = []
  const served: Wish[] = []
  const odd: string[] = []
  let halfWay = 0
  const start = () => startDeskProcess({ main: 'src/enroll/main.ts', home: home.path })
  const way = (): 'REST' | 'EST' => (random.next() < 0.5 ? 'REST' : 'EST')
  const settle = (wish: Wish, refused: string | undefined): void => {
    if (refused !== undefined && !(wish.shared && refused === '401 token_spent')) odd.push(refused)
    if (refused === undefined) (wish.held.size > 0 ? served : cut).push(wish)
  }

  for (let round = 0; round < ROUNDS; round += 1) {
    await using desk = await start()
    const lines = await openLines(desk.urls['devices'] as string, CROWD, tls)
    const crowd = [...draw(served, 20, random), ...draw(cut, CROWD - 20 - NEW_EACH_ROUND, random)]
    crowd.push(...fresh.splice(0, CROWD - crowd.length))
    const killAfter = Math.floor(random.between(0, CROWD))
    let replies = 0
    const due = Promise.withResolvers<void>()
    const asked = crowd.map(async (wish, at) => {
      const over = way()
      const reply = await (lines[at] as Line).ask(wish.bytes[over])
      replies += 1
      if (replies >= killAfter) due.resolve()
      settle(wish, take(wish, over, reply))
    })
    if (killAfter === 0) due.resolve()
    await due.promise
    // not a wait for something: the instant is random on purpose
    await delay(random.between(0, 12))
    desk.child.kill('SIGKILL')
    await Promise.all(asked)
    for (const line of lines) line[Symbol.dispose]()
    await desk.ended
    halfWay += leftHalfWay(home.registryPath, folder.path)
  }
  await annotate(`${halfWay} rows were left \`intended\` by ${ROUNDS} kills`)

  // and now undisturbed: everybody who was cut off, until there is nobody left; then everybody who was served, once more
  await using desk = await start()
  const lines = await openLines(desk.urls['devices'] as string, 64, tls)
  const again = [...cut.splice(0), ...served.splice(0)]
  const queue = [...again]
  await Promise.all(
    lines.map(async (line) => {
      for (let wish = queue.pop(); wish !== undefined; wish = queue.pop()) {
        const over = way()
        settle(wish, take(wish, over, await line.ask(wish.bytes[over])))
      }
    }),
  )
  for (const line of lines) line[Symbol.dispose]()
  desk.child.kill('SIGKILL')
  await desk.ended

  const context = `seed ${seed}`
  expect(odd, context).toEqual([])
  expect(cut, context).toEqual([])
  const holders = served.filter(({ held }) => held.size > 0)
  expect(
    holders.filter(({ held }) => held.size > 1),
    context,
  ).toEqual([])
  const issuer = new X509Certificate(home.pki.devices.pem)
  const { certificates, tokens } = verifyRows(home.registryPath, issuer)
  const recorded = new Set(certificates.map(({ fingerprint }) => fingerprint))
  expect(
    holders.flatMap(({ held }) => [...held]).filter((one) => !recorded.has(one)),
    context,
  ).toEqual([])
  // nobody else has any: one certificate for each that was asked for to the end, and no row left half-way but those of spent tokens' losers
  expect(
    certificates.filter(({ state }) => state !== 'live'),
    context,
  ).toEqual([])
  expect(certificates.length, context).toBe(holders.length)
  const asked = new Set(holders.map(({ token }) => token))
  for (const { id, uses, used } of tokens) if (asked.has(id)) expect(used, context).toBe(uses)
  expect(holders.length).toBeGreaterThan(ROUNDS * NEW_EACH_ROUND * 0.5)
})
