/**
 * Hostname patterns that are equally specific and may cover one hostname. For people, once per change; which pattern a hostname is found by is
 * hosts.ts.
 */

import type { HostPattern } from './hosts.ts'

type Label = HostPattern['labels'][number]

/** What of a pattern has been read, from the last label on. */
type Node<V> = {
  readonly whole: Map<string, Node<V>>
  /** labels with a `*`, as they are written */
  readonly starred: Map<string, Starred<V>>
  value: V | undefined
}
type Starred<V> = { readonly label: Label; readonly length: number; readonly node: Node<V> }

const newNode = <V>(): Node<V> => ({ whole: new Map(), starred: new Map(), value: undefined })

const lengthOf = ({ before, after = '' }: Label): number => before.length + after.length

const covers = ({ before, after = '' }: Label, text: string): boolean =>
  text.length >= before.length + after.length && text.startsWith(before) && text.endsWith(after)

/** Can they stand for one text? Of two beginnings the shorter must begin the longer; the same with their ends. */
const agree = (a: Label, b: Label): boolean => {
  const { after: end = '' } = a
  const { after: other = '' } = b
  return (
    (a.before.startsWith(b.before) || b.before.startsWith(a.before)) &&
    (end.endsWith(other) || other.endsWith(end))
  )
}

const addTo = <V>(root: Node<V>, labels: readonly Label[], value: V): void => {
  let node = root
  for (const label of labels.toReversed()) {
    const { before, after } = label
    const text = after === undefined ? before : `${before}*${after}`
    const known = after === undefined ? node.whole.get(text) : node.starred.get(text)?.node
    const next = known ?? newNode<V>()
    if (known === undefined && after === undefined) node.whole.set(text, next)
    else if (known === undefined) node.starred.set(text, { label, length: lengthOf(label), node: next })
    node = next
  }
  node.value = value
}

export type HostRivals<V> = {
  /** @returns values of those added before that are its rivals. Not of names: nothing is as specific as a name. */
  add(pattern: HostPattern, value: V): readonly V[]
  /** was every pair looked at? */
  complete(): boolean
}

/** @param most labels that are compared in all: it is quadratic where many patterns hardly differ */
export const createHostRivals = <V>(most: number): HostRivals<V> => {
  const root = newNode<V>()
  let left = most

  /** @param fixed how many fixed letters the labels up to `at` have that a rival still needs */
  const collect = (node: Node<V>, labels: readonly Label[], at: number, fixed: number, into: V[]): void => {
    const label = labels[at]
    if (label === undefined) {
      if (node.value !== undefined && fixed === 0) into.push(node.value)
      return
    }
    const fits = (length: number): boolean => (at === 0 ? length === fixed : length <= fixed)
    const go = (next: Node<V>, length: number): void => collect(next, labels, at - 1, fixed - length, into)
    const { before, after } = label
    if (after === undefined) {
      const same = node.whole.get(before)
      if (same !== undefined && fits(before.length)) go(same, before.length)
    } else {
      left -= node.whole.size
      if (left <= 0) return
      for (const [text, next] of node.whole)
        if (fits(text.length) && covers(label, text)) go(next, text.length)
    }
    left -= node.starred.size
    if (left <= 0) return
    for (const other of node.starred.values())
      if (
        fits(other.length) &&
        (after === undefined ? covers(other.label, before) : agree(other.label, label))
      )
        go(other.node, other.length)
  }

  return {
    add: ({ labels, literals }, value) => {
      const found: V[] = []
      if (literals === Infinity || left <= 0) return found
      const letters = labels.reduce((sum, label) => sum + lengthOf(label), 0)
      collect(root, labels, labels.length - 1, letters, found)
      addTo(root, labels, value)
      return found
    },
    complete: () => left > 0,
  }
}
