/**
 * What `ca rotate` and `trust` have in common: the same verbs over issuers and over server anchors, the one that is meant found by the
 * beginning of its id, or, where only one can be meant, without any. What a verb does is the desk's.
 */

import { Argument, type Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { online, show, type Online } from './command.ts'
import type { Io } from './io.ts'
import { connect, type OperatorApi } from './operator-api.ts'

export type Rotated = {
  readonly state: string
  readonly common_name: string | null
  readonly not_after: string
  readonly offered_at: string | null
  readonly fetched: number | null
  readonly active_devices: number | null
}

export type Collection<T extends Rotated> = {
  /** how commands call it: `ca rotate`, `trust` */
  readonly words: string
  readonly path: string
  /** `issuer` */
  readonly what: string
  /** of the argument: `ski` */
  readonly argument: string
  readonly idOf: (thing: T) => string
}

/** Enough of an id that nobody types it by chance. */
const LEAST = 6

/** @param from the states that can be meant when no id is given; undefined: an id is needed */
export const findOne = async <T extends Rotated>(
  api: OperatorApi,
  { path, what, idOf, words }: Collection<T>,
  given: string | undefined,
  from: readonly string[] = [],
): Promise<T> => {
  const { items } = await api.call<{ readonly items: readonly T[] }>('GET', path)
  const wanted = given?.toLowerCase().replaceAll(':', '')
  const matches =
    wanted === undefined
      ? items.filter(({ state }) => from.includes(state))
      : items.filter(
          (item) => idOf(item) === wanted || (wanted.length >= LEAST && idOf(item).startsWith(wanted)),
        )
  const [only] = matches
  if (only !== undefined && matches.length === 1) return only
  const list = `see npx sallyport ${words === 'trust' ? 'trust' : 'issuer'} ls`
  if (given !== undefined && matches.length > 1)
    throw new FleetError('conflict', `more than one ${what} begins with ${given}; ${list}`)
  if (given !== undefined) throw new FleetError('not_found', `no ${what} ${given}; ${list}`)
  const states = from.join(' or ')
  throw matches.length === 0
    ? new FleetError('conflict', `no ${what} is ${states}; ${list}`)
    : new FleetError('conflict', `more than one ${what} is ${states}: name the one that is meant; ${list}`)
}

const VERBS = {
  distribute: {
    about: (what: string) => `give out a prepared ${what}, so that everybody knows it before it is used`,
    from: ['prepared'],
    force: undefined,
  },
  activate: {
    about: (what: string) => `use an offered ${what}; refused before it has been offered or fetched enough`,
    from: ['offered'],
    force: 'though it has not been offered or fetched enough: who has not got it is cut off',
  },
  retire: {
    about: (what: string) => `take a retiring ${what} out of use, for good; refused while something needs it`,
    from: ['retiring'],
    force: 'though something still needs it: that is cut off',
  },
} as const
export type Verb = keyof typeof VERBS

/** Sentences of the desk, one a line. */
export const noteLines = (notes: readonly string[]): readonly string[] => notes.map((note) => `  ${note}`)

export const fetchedText = ({ fetched, active_devices: active }: Rotated): string =>
  fetched === null || active === null ? '-' : `${fetched} of ${active}`

export const rotateCommand = <T extends Rotated>(
  io: Io,
  verb: Verb,
  collection: Collection<T>,
  example: string,
): Command => {
  const { about, from, force } = VERBS[verb]
  const { what, path, argument, idOf } = collection
  const made = online(verb, about(what), `${collection.words} ${verb} ${example}`.trimEnd()).addArgument(
    new Argument(
      `[${argument}]`,
      `which ${what}, or the beginning of its id (default: the only one that can be meant)`,
    ),
  )
  if (force !== undefined) made.option('--force', force)
  return made.action(async (given: string | undefined, _: unknown, self: Command) => {
    const options = self.optsWithGlobals<Online & { readonly force?: boolean }>()
    const api = connect(io, options)
    const id = idOf(await findOne(api, collection, given, from))
    const body = options.force === true ? { body: { force: true } } : {}
    const moved = await api.call<T & { readonly notes: readonly string[] }>(
      'POST',
      `${path}/${id}/${verb}`,
      body,
    )
    show(io, options, moved, () => [
      `${what} ${id} ("${moved.common_name ?? ''}") is ${moved.state}`,
      ...noteLines(moved.notes),
    ])
  })
}
