/**
 * Hostnames of applications: a name, or one with a `*` for (a part of) a label; and which of them a hostname is. Anchors have names only.
 * Not SNI and Host, which admission.ts compares.
 */

/** `labels`: before and after its `*`; `after` undefined: it has none. `literals`: how much of it is fixed; Infinity: a whole name. */
export type HostPattern = {
  readonly text: string
  readonly labels: readonly { readonly before: string; readonly after: string | undefined }[]
  readonly literals: number
}

/** RFC 1123 §2.1, lower case, with at most one `*` in place of any run. */
const LABEL = /^(?!-)(?=[^*]*\*?[^*]*$)[a-z0-9*-]{1,63}(?<!-)$/
/** What a `*` may stand for; also the `_` of names that are no host names. */
const RUN = /^[a-z0-9_-]*$/
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
  const literals = text.includes('*') ? text.replaceAll('*', '').length : Infinity
  return {
    text,
    labels: labels.map((label) => {
      const [before = '', after] = label.split('*')
      return { before, after }
    }),
    literals,
  }
}

/**
 * A `*` stands for nothing too (`*test` covers `test`), and never for a dot.
 * @param given the labels of a hostname
 */
const coversLabels = ({ labels }: HostPattern, given: readonly string[]): boolean =>
  given.length === labels.length &&
  labels.every(({ before, after }, at) => {
    const label = given[at] as string
    if (after === undefined) return label === before
    return (
      label !== '' &&
      label.length <= MAX_LABEL &&
      label.length >= before.length + after.length &&
      label.startsWith(before) &&
      label.endsWith(after) &&
      RUN.test(label.slice(before.length, label.length - after.length))
    )
  })

type Entry<V> = { readonly pattern: HostPattern; readonly value: V }

export type HostIndex<V> = {
  /** Most specific first: the name itself, then the patterns that cover it, those with more fixed letters before those with fewer. */
  find(host: string): readonly Entry<V>[]
}

const bySpecificity = <V>(a: Entry<V>, b: Entry<V>): number => b.pattern.literals - a.pattern.literals

const afterFirst = (host: string): string => host.slice(host.indexOf('.') + 1)

/** @param entries no two with the same pattern */
export const createHostIndex = <V>(entries: readonly Entry<V>[]): HostIndex<V> => {
  const wildcards = entries.filter(({ pattern }) => pattern.literals !== Infinity)
  const isCommon = ({ pattern }: Entry<V>): boolean =>
    pattern.labels.slice(1).every(({ after }) => after === undefined)
  /** those with a `*` in the first label only, by what is behind it */
  const common = Map.groupBy(wildcards.filter(isCommon), ({ pattern }) => afterFirst(pattern.text))
  const others = wildcards.filter((entry) => !isCommon(entry))

  const wild = (host: string): readonly Entry<V>[] => {
    const known = common.get(afterFirst(host)) ?? []
    if ((known.length === 0 && others.length === 0) || host.length > MAX_NAME) return []
    const labels = host.split('.')
    return [...known, ...others].filter(({ pattern }) => coversLabels(pattern, labels)).sort(bySpecificity)
  }
  const names = entries.filter(({ pattern }) => pattern.literals === Infinity)
  const exact = new Map(names.map((entry) => [entry.pattern.text, [entry, ...wild(entry.pattern.text)]]))
  return { find: (host) => exact.get(host) ?? wild(host) }
}
