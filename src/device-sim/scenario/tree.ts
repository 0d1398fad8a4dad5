/**
 * YAML text as a tree of maps, lists and plain values, each with its line. YAML's own ways of saying more than that (aliases, tags, merge keys,
 * several documents, directives) are refused: a scenario needs none, and they are how a small file becomes a large one. Not what the keys mean: conform.ts.
 */

import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Node } from 'yaml'
import { FleetError } from '#fleet/errors.ts'
import { complain, shown } from './complaint.ts'

export type Tree = { readonly line: number } & (
  | { readonly kind: 'map'; readonly entries: ReadonlyMap<string, { line: number; value: Tree }> }
  | { readonly kind: 'list'; readonly items: readonly Tree[] }
  /** text, a number, true, false or null */
  | { readonly kind: 'value'; readonly value: unknown }
)

const PLAIN_KEY = /^[A-Za-z0-9_-]{1,64}$/

/** Of a key, for complaints: whatever it is, it fits into a line. */
export const pathOf = (above: string, key: string): string => {
  const name = PLAIN_KEY.test(key) ? key : shown(key)
  return above === '' ? name : `${above}.${name}`
}

const MOST_DEPTH = 8

/** What the parser says when it runs out of stack, by whichever of its parts. */
const TOO_DEEP = /call stack|stack overflow/i

/**
 * @param file as it is called in complaints
 * @throws FleetError `config_invalid`
 */
export const readTree = (text: string, file: string): Tree => {
  const lines = new LineCounter()
  const stop = (line: number | undefined, what: string): never => {
    throw new FleetError('config_invalid', `${file}${line === undefined ? '' : `:${line}`}: ${what}`)
  }
  const parse = (): ReturnType<typeof parseDocument> => {
    try {
      // keys that are there twice are found below, each with both its lines
      return parseDocument(text, { lineCounter: lines, uniqueKeys: false, version: '1.2', logLevel: 'error' })
    } catch (error) {
      return stop(undefined, `not valid YAML: ${String(error).split('\n')[0]}`)
    }
  }
  const document = parse()
  // %YAML 1.1 would make 1:30 a number, and yes a truth value; before the document, a line that begins so is nothing else
  const directive = text.split(/\r?\n/).findIndex((line) => line.startsWith('%'))
  if (directive !== -1 && document.directives?.docStart === true)
    complain(`${file}:${directive + 1}`, 'a directive', 'plain YAML 1.2')
  const [problem] = document.errors
  if (problem !== undefined) {
    const why = (problem.message.split('\n')[0] as string).replace(/ at line \d+, column \d+:?$/, '')
    stop(problem.linePos?.[0].line, `not valid YAML: ${TOO_DEEP.test(why) ? 'nested too deeply' : why}`)
  }

  const walk = (node: unknown, path: string, above: number, depth: number): Tree => {
    const start = (node as Node | null)?.range?.[0]
    const line = start === undefined ? above : lines.linePos(start).line
    const at = path === '' ? `${file}:${line}` : `${file}:${line}: ${path}`
    if (depth > MOST_DEPTH) complain(at, 'something nested too deeply', 'what the format has')
    if (isAlias(node)) complain(at, 'an alias', 'the thing itself: a scenario has no anchors')
    const { anchor, tag } = (node ?? {}) as { readonly anchor?: string; readonly tag?: string }
    if (anchor !== undefined) complain(at, 'an anchor', 'none: a scenario has no aliases')
    // a block that is empty has no node, and a plain one no tag
    if (tag !== undefined) complain(at, `the tag ${tag.slice(0, 60)}`, 'plain YAML')
    if (isSeq(node))
      return {
        kind: 'list',
        line,
        items: node.items.map((item, index) => walk(item, `${path}[${index}]`, line, depth + 1)),
      }
    if (!isMap(node)) return { kind: 'value', line, value: isScalar(node) ? node.value : null }

    const entries = new Map<string, { line: number; value: Tree }>()
    for (const { key, value } of node.items) {
      const { line: keyLine } = walk(key, path, line, depth + 1)
      const name = isScalar(key) ? key.value : undefined
      if (typeof name !== 'string')
        return complain(
          `${file}:${keyLine}${path === '' ? '' : `: ${path}`}`,
          'a key that is no text',
          'a name',
        )
      const inner = pathOf(path, name)
      const before = entries.get(name)
      if (before !== undefined)
        complain(`${file}:${keyLine}: ${inner}`, `it twice, first in line ${before.line}`, 'it once')
      entries.set(name, { line: keyLine, value: walk(value, inner, keyLine, depth + 1) })
    }
    return { kind: 'map', line, entries }
  }
  return walk(document.contents, '', 1, 1)
}
