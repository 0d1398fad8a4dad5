/**
 * Is this checkout installed, and does its own Node run? Plain JavaScript for any Node ≥ 20: it is read before anything is installed.
 * Not the installing: ensure-install.js.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
/** The Node that everything runs on, whatever the machine has: the npm package `node`. */
export const PINNED_NODE = join(ROOT, 'node_modules', '.bin', 'node')

const LEAST_MAJOR = 26

const majorOf = (version) => Number(/^v(\d+)\./.exec(version)?.[1])

/**
 * The pinned Node; or the one that runs this, where the development packages were left out on purpose and it is new enough: in an
 * image that is a Node already.
 * @returns {string | undefined} undefined: none that would do
 */
export const nodeToRun = () => {
  if (existsSync(PINNED_NODE)) return PINNED_NODE
  const leftOut = existsSync(join(ROOT, 'node_modules')) && !existsSync(join(ROOT, 'node_modules', 'node'))
  return leftOut && majorOf(process.version) >= LEAST_MAJOR ? process.execPath : undefined
}

const packagesIn = (path) => JSON.parse(readFileSync(join(ROOT, path), 'utf8')).packages

/**
 * Is what is installed what package-lock.json names? npm writes its own lock into node_modules when an installation is whole, so it
 * does not matter who installed, and half of an installation counts as none.
 */
export const isCurrent = () => {
  if (!existsSync(join(ROOT, 'node_modules', '.package-lock.json'))) return false
  const installed = packagesIn('node_modules/.package-lock.json')
  return Object.entries(packagesIn('package-lock.json')).every(([path, wanted]) => {
    const found = installed[path]
    // '' is this project; an optional one that is missing is for another machine
    if (path === '' || (found === undefined && wanted.optional)) return true
    return found?.version === wanted.version && found.integrity === wanted.integrity
  })
}

/** @returns {string | undefined} what is wrong with the pinned Node and what to do, in words for a terminal */
export const pinnedNodeProblem = () => {
  if (!existsSync(PINNED_NODE))
    return [
      'The package `node` was installed without its install script, so the Node that Sallyport runs on is missing.',
      'npm blocks install scripts when `ignore-scripts` is set, or when a policy does not allow them. This one only fetches the',
      'Node binary of its version from your npm registry. Allow it once:',
      '',
      '    npm rebuild node --ignore-scripts=false',
      '',
      'and start again. To see what npm holds back: npm install-scripts ls',
    ].join('\n')
  const { status, stdout, error } = spawnSync(PINNED_NODE, ['--version'], { encoding: 'utf8' })
  if (status !== 0)
    return [
      `The Node that Sallyport brings along does not run here (${error?.message ?? `exit code ${status}`}).`,
      'It needs Linux with glibc, or macOS, on x64 or arm64. On Windows use WSL2; on Alpine use a Debian-based image.',
      'If this folder was copied from another machine, run: npm ci',
    ].join('\n')
  const version = stdout.trim()
  if (!(majorOf(version) >= LEAST_MAJOR))
    return `${PINNED_NODE} is ${version}; Sallyport needs Node ${LEAST_MAJOR} or newer. Run: npm ci`
  return undefined
}
