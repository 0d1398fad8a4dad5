/**
 * Topics by level: which stored filters match a name, which stored names a filter matches. As quick with a hundred thousand entries as
 * with ten. Not the grammar, and not the rules: #wire/topics.ts and #policy/topics.ts.
 */

type Node<T> = { below: Map<string, Node<T>> | undefined; values: Map<string, T> | undefined }

const node = <T>(): Node<T> => ({ below: undefined, values: undefined })

export type TopicTree<T> = {
  /** One value per (topic, owner). */
  set(topic: string, owner: string, value: T): void
  delete(topic: string, owner: string): void
  /** What was stored under filters that match `name`. */
  matching(name: string, visit: (value: T, owner: string) => void): void
  /** What was stored under names that `filter` matches, one after the other; what changes meanwhile is seen or not. */
  under(filter: string): Iterable<T>
}

const each = <T>(at: Node<T> | undefined, visit: (value: T, owner: string) => void): void => {
  if (at?.values !== undefined) for (const [owner, value] of at.values) visit(value, owner)
}

function* all<T>(at: Node<T>): Generator<T, void> {
  if (at.values !== undefined) yield* at.values.values()
  if (at.below !== undefined) for (const next of at.below.values()) yield* all(next)
}

function* under<T>(at: Node<T>, levels: readonly string[], depth: number): Generator<T, void> {
  if (depth === levels.length) {
    if (at.values !== undefined) yield* at.values.values()
    return
  }
  const level = levels[depth] as string
  if (level === '#' && depth > 0) return yield* all(at)
  if (at.below === undefined) return
  if (level !== '+' && level !== '#') {
    const next = at.below.get(level)
    if (next !== undefined) yield* under(next, levels, depth + 1)
    return
  }
  for (const [name, next] of at.below) {
    if (depth === 0 && name.startsWith('$')) continue
    if (level === '#') yield* all(next)
    else yield* under(next, levels, depth + 1)
  }
}

export const createTopicTree = <T>(): TopicTree<T> => {
  const root = node<T>()

  const matching = (
    at: Node<T>,
    levels: readonly string[],
    depth: number,
    visit: (value: T, owner: string) => void,
  ): void => {
    const { below } = at
    // no wildcard at the first level matches a `$` topic [MQTT-4.7.2-1]
    const wild = depth > 0 || !(levels[0] as string).startsWith('$')
    if (below !== undefined && wild) each(below.get('#'), visit)
    if (depth === levels.length) return each(at, visit)
    if (below === undefined) return
    const plus = wild ? below.get('+') : undefined
    if (plus !== undefined) matching(plus, levels, depth + 1, visit)
    const next = below.get(levels[depth] as string)
    if (next !== undefined) matching(next, levels, depth + 1, visit)
  }

  /** @returns whether `at` has become empty */
  const remove = (at: Node<T>, levels: readonly string[], depth: number, owner: string): boolean => {
    if (depth === levels.length) {
      at.values?.delete(owner)
      if (at.values?.size === 0) at.values = undefined
    } else {
      const level = levels[depth] as string
      const next = at.below?.get(level)
      if (next !== undefined && remove(next, levels, depth + 1, owner)) {
        at.below?.delete(level)
        if (at.below?.size === 0) at.below = undefined
      }
    }
    return at.values === undefined && at.below === undefined
  }

  return {
    set: (topic, owner, value) => {
      let at = root
      for (const level of topic.split('/')) {
        at.below ??= new Map()
        let next = at.below.get(level)
        if (next === undefined) at.below.set(level, (next = node()))
        at = next
      }
      at.values ??= new Map()
      at.values.set(owner, value)
    },
    delete: (topic, owner) => void remove(root, topic.split('/'), 0, owner),
    matching: (name, visit) => matching(root, name.split('/'), 0, visit),
    under: (filter) => under(root, filter.split('/'), 0),
  }
}
