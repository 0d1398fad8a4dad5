/**
 * A configuration file as a flat list of (path, text, line): YAML's shape is checked here and nowhere else.
 * Not what the values mean: config.ts.
 */

import { readFileSync, statSync } from 'node:fs'
import { isAlias, isMap, isScalar, LineCounter, parseDocument, type Node } from 'yaml'
import { FleetError } from '#fleet/errors.ts'

export type Entry = { readonly path: string; readonly text: string; readonly line: number | undefined }

const API_VERSION = '1'
const MAX_BYTES = 1_048_576
const MAX_DEPTH = 4

const stop = (where: string, what: string, cause?: unknown): never => {
  throw new FleetError('config_invalid', `${where}: ${what}`, { cause })
}

const readText = (file: string): string => {
  try {
    if (statSync(file).size > MAX_BYTES) return stop(file, 'larger than 1 MiB, which no configuration is')
    return readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof FleetError) throw cause
    return stop(file, `cannot be read: ${(cause as NodeJS.ErrnoException).code}`, cause)
  }
}

/**
 * @returns in file order, without `api_version`
 * @throws FleetError `config_invalid`: unreadable, not YAML, not a map of maps of plain values, a key twice, no `api_version: 1` at the head
 */
export const readConfigFile = (file: string): Entry[] => {
  const lines = new LineCounter()
  const text = readText(file)
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    version: '1.2',
    logLevel: 'error',
  })
  const lineOf = (node: unknown): number | undefined => {
    const start = (node as Node | null)?.range?.[0]
    return start === undefined ? undefined : lines.linePos(start).line
  }
  const at = (line: number | undefined): string => (line === undefined ? file : `${file}:${line}`)

  const [problem] = document.errors
  if (problem !== undefined)
    return stop(at(problem.linePos?.[0].line), `not valid YAML: ${problem.message.split('\n')[0]}`)

  const entries: Entry[] = []
  const walk = (node: unknown, prefix: string, depth: number): void => {
    if (!isMap(node) || depth > MAX_DEPTH) {
      stop(
        at(lineOf(node)),
        `${prefix === '' ? 'the file' : prefix}: got something else, expected a map of settings`,
      )
      return
    }
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '?'
      const path = prefix === '' ? name : `${prefix}.${name}`
      const line = lineOf(key)
      if (isMap(value)) walk(value, path, depth + 1)
      else if (isScalar(value) && value.value !== null)
        // the text as written: 1e3 and 0x10 are not silently numbers
        entries.push({ path, text: value.source ?? JSON.stringify(value.value), line })
      else
        stop(
          at(line),
          `${path}: got ${isAlias(value) ? 'an alias' : isScalar(value) || value === null ? 'nothing' : 'a list'}, expected a value`,
        )
    }
  }
  walk(document.contents, '', 1)

  const [head, ...rest] = entries
  if (head?.path !== 'api_version' || head.text !== API_VERSION)
    return stop(
      at(head?.line),
      `api_version: got ${head?.path === 'api_version' ? JSON.stringify(head.text) : 'none at the head of the file'}, expected the first line to be \`api_version: ${API_VERSION}\``,
    )
  return rest
}
