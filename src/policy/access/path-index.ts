/**
 * The applications of one hostname by path: a tree of segments for patterns that end at a slash or have no `*`, which one walk along the
 * path finds, and short lists for the others. Not the grammar: paths.ts.
 */

import { covers, specificity, type PathPattern } from './paths.ts'

/** `value` undefined: contested, nobody gets it. `rank`: of the pattern, higher is more specific. */
export type Place<V> = { readonly value: V | undefined; readonly rank: number }

type Listed<V> = Place<V> & { readonly pattern: PathPattern }

/** A segment. `self`: it and what is below it. `below`: only that. `wild`: patterns whose `*` comes after its slash, most specific first. */
type Node<V> = {
  readonly parent: Node<V> | undefined
  /** undefined: none, as of most */
  children: Map<string, Node<V>> | undefined
  readonly wild: Listed<V>[]
  self: Place<V> | undefined
  below: Place<V> | undefined
}

const newNode = <V>(parent: Node<V> | undefined): Node<V> => ({
  parent,
  children: undefined,
  wild: [],
  self: undefined,
  below: undefined,
})

export type PathIndex<V> = {
  /** @returns false: another value has this very pattern, and from now on nobody has it */
  add(pattern: PathPattern, value: V): boolean
  /** The most specific that covers it. @param path decoded, with its first slash */
  find(path: string): Place<V> | undefined
}

/** Where two that are equally specific cover the path, nobody gets it. */
const firstOf = <V>(wild: readonly Listed<V>[], path: string): Place<V> | undefined => {
  let found: Listed<V> | undefined
  for (const listed of wild) {
    if (found !== undefined && listed.rank < found.rank) break
    if (!covers(listed.pattern, path)) continue
    if (found !== undefined && found.value !== listed.value) return { value: undefined, rank: found.rank }
    found = listed
  }
  return found
}

export const createPathIndex = <V>(): PathIndex<V> => {
  const root = newNode<V>(undefined)

  const nodeOf = (path: string): Node<V> => {
    let node = root
    for (const segment of path.split('/').slice(1)) {
      const child = node.children?.get(segment) ?? newNode(node)
      node.children ??= new Map()
      node.children.set(segment, child)
      node = child
    }
    return node
  }

  const addWild = ({ wild }: Node<V>, pattern: PathPattern, place: Place<V>): boolean => {
    const rival = wild.findIndex((listed) => listed.pattern.text === pattern.text)
    if (rival !== -1) {
      wild[rival] = { pattern, value: undefined, rank: place.rank }
      return false
    }
    const after = wild.findIndex(({ rank }) => rank < place.rank)
    wild.splice(after === -1 ? wild.length : after, 0, { ...place, pattern })
    return true
  }

  return {
    add: (pattern, value) => {
      const [first, ...rest] = pattern.parts
      const place: Place<V> = { value, rank: specificity(pattern) }
      const slot = rest.length === 0 ? 'self' : 'below'
      if (rest.length > 1 || (slot === 'below' && (rest[0] !== '' || !first.endsWith('/'))))
        return addWild(nodeOf(first.slice(0, first.lastIndexOf('/'))), pattern, place)
      const node = nodeOf(slot === 'self' ? first : first.slice(0, -1))
      const free = node[slot] === undefined
      node[slot] = free ? place : { ...place, value: undefined }
      return free
    },
    find: (path) => {
      let node = root
      let from = 1
      // false: the path ends with the segment that `node` is
      let goesOn = true
      while (goesOn) {
        const slash = path.indexOf('/', from)
        const child = node.children?.get(path.slice(from, slash === -1 ? path.length : slash))
        if (child === undefined) break
        node = child
        goesOn = slash !== -1
        from = slash + 1
      }
      // what begins deeper begins with more; at one segment, what has a `*` behind its slash has more than the segment alone
      for (let at: Node<V> | undefined = node; at !== undefined; at = at.parent) {
        if (goesOn) {
          const found = firstOf(at.wild, path) ?? at.below
          if (found !== undefined) return found
        }
        if (at.self !== undefined) return at.self
        goesOn = true
      }
      return undefined
    },
  }
}
