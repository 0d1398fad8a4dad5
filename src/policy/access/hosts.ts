/**
 * Hostnames of applications: a name, or one with a `*` for (a part of) a label; and which of them a hostname is. Anchors have names only.
 * Not SNI and Host, which ladder.ts compares.
 */

/**
 * `labels`: before and after its `*`; `after` undefined: it has none; of a whole name, none. `literals`: how much of it is fixed; Infinity: a
 * whole name.
 */
export type HostPattern = {
  readonly text: string
  readonly labels: readonly { readonly before: string; readonly after: string | undefined }[]
  readonly literals: number
}

/** RFC 1123 §2.1, lower case, with at most one `*` in place of any run. */
const LABEL = /^(?!-)(?=[^*]*\*?[^*]*$)[a-z0-9*-]{1,63}(?<!-)$/
/** A label that a `*` may stand for, or for a part of; also with the `_` of names that are no host names. */
const RUN = /^[a-z0-9_-]+$/
const MAX_NAME = 253
const MAX_LABEL = 63

/**
 * `a.example.com`, `*.example.com`, `*test.example.com`, `a-*.*.example.com`. Lower case, no port, no trailing dot, no `*` in the last label.
 * @returns undefined when the text is none of these
 */
export const readHostPattern = (text: string): HostPattern | undefined => {
  const labels = text.split('.')
  if (text.length > MAX_NAME || !labels.every((label) => LABEL.test(label))) return undefined
  if ((labels.at(-1) as string).includes('*')) return undefined
  if (!text.includes('*')) return { text, labels: [], literals: Infinity }
  return {
    text,
    labels: labels.map((label) => {
      const [before = '', after] = label.split('*')
      return { before, after }
    }),
    literals: text.replaceAll('*', '').length,
  }
}

type Entry<V> = { readonly pattern: HostPattern; readonly value: V }

export type HostIndex<V> = {
  /** Most specific first: the name itself, then the patterns that cover it, those with more fixed letters before those with fewer. */
  find(host: string): readonly Entry<V>[]
}

/** By length, then by text: only the lengths that there are have to be tried. */
type ByText<T> = Map<number, Map<string, T>>

/** What of a pattern has been read, from the last label on. `parts`: labels with a `*`, by what is before it, then by what is after it. */
type Node<V> = {
  readonly whole: Map<string, Node<V>>
  readonly parts: ByText<ByText<Node<V>>>
  entry: Entry<V> | undefined
}

const newNode = <V>(): Node<V> => ({ whole: new Map(), parts: new Map(), entry: undefined })

const getOrMake = <K, V>(map: Map<K, V>, key: K, make: () => V): V => {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

const newMap = <K, T>(): Map<K, T> => new Map()

const byText = <T>(map: ByText<T>, text: string, make: () => T): T =>
  getOrMake(getOrMake(map, text.length, newMap<string, T>), text, make)

const add = <V>(root: Node<V>, entry: Entry<V>): void => {
  let node = root
  for (const { before, after } of entry.pattern.labels.toReversed())
    node =
      after === undefined
        ? getOrMake(node.whole, before, newNode<V>)
        : byText(byText(node.parts, before, newMap<number, Map<string, Node<V>>>), after, newNode<V>)
  node.entry = entry
}

/**
 * Adds what covers the hostname below this node. A `*` stands for nothing too (`*test` covers `test`), and never for a dot. What it costs depends
 * on how many lengths there are and on what is found, not on how many patterns there are.
 * @param at the label that comes next; before the first one: all have been read
 */
const collect = <V>(node: Node<V>, labels: readonly string[], at: number, into: Entry<V>[]): void => {
  const label = labels[at]
  if (label === undefined) {
    if (node.entry !== undefined) into.push(node.entry)
    return
  }
  const whole = node.whole.get(label)
  if (whole !== undefined) collect(whole, labels, at - 1, into)
  if (node.parts.size === 0 || label.length > MAX_LABEL || !RUN.test(label)) return
  for (const [begin, befores] of node.parts) {
    const afters = begin > label.length ? undefined : befores.get(label.slice(0, begin))
    if (afters === undefined) continue
    for (const [end, nodes] of afters) {
      const part = begin + end > label.length ? undefined : nodes.get(label.slice(label.length - end))
      if (part !== undefined) collect(part, labels, at - 1, into)
    }
  }
}

const bySpecificity = <V>(a: Entry<V>, b: Entry<V>): number => b.pattern.literals - a.pattern.literals

/** @param entries no two with the same pattern */
export const createHostIndex = <V>(entries: readonly Entry<V>[]): HostIndex<V> => {
  const root = newNode<V>()
  const names = new Map<string, Entry<V>>()
  for (const entry of entries)
    if (entry.pattern.literals === Infinity) names.set(entry.pattern.text, entry)
    else add(root, entry)

  const wild = (host: string): readonly Entry<V>[] => {
    if (host.length > MAX_NAME) return []
    const labels = host.split('.')
    const found: Entry<V>[] = []
    collect(root, labels, labels.length - 1, found)
    return found.sort(bySpecificity)
  }
  /** of names, each when it is first asked for: strangers may ask for any other */
  const known = new Map<string, readonly Entry<V>[]>()
  return {
    find: (host) => {
      const name = names.get(host)
      return name === undefined ? wild(host) : getOrMake(known, host, () => [name, ...wild(host)])
    },
  }
}
