/** Every `ls` is the same command over another collection: one page of the operator API, as `{items, next}` or as a table. */

import type { Command } from 'commander'
import { online, show, wholeNumber, type Online } from './command.ts'
import type { Io } from './io.ts'
import { connect } from './operator-api.ts'
import { table } from './output.ts'

type Listing = Online & {
  readonly limit: number
  readonly after?: string
  readonly state?: string
  readonly group?: string
  readonly device?: string
}

type Page<T> = { readonly items: readonly T[]; readonly next: string | null }

export type Collection<T> = {
  readonly path: string
  readonly heads: readonly string[]
  readonly row: (item: T) => readonly string[]
  /** what to say when there is nothing */
  readonly none: string
}

export const listing = (about: string, example: string): Command =>
  online('ls', about, example)
    .option('--limit <n>', 'how many at most', wholeNumber(1, 1_000), 100)
    .option('--after <next>', 'go on where the page before ended')

/** The action of an `ls`. `state`, `group` and `device` are filters of those that offer them. */
export const list =
  <T>(io: Io, { path, heads, row, none }: Collection<T>) =>
  async (_: unknown, self: Command): Promise<void> => {
    const options = self.optsWithGlobals<Listing>()
    const { limit, after, state, group, device } = options
    const page = await connect(io, options).call<Page<T>>('GET', path, {
      query: { limit, after, state, group, device },
    })
    show(io, options, page, () => [
      ...(page.items.length === 0 ? [none] : table(heads, page.items.map(row))),
      ...(page.next === null ? [] : ['', `There is more: --after ${page.next}`]),
    ])
  }
