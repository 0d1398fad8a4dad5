/**
 * Runs before `npm start`, `npm test`, `npm run demo` and `npm run bench`: installs when what is installed is not what
 * package-lock.json names, makes sure that the pinned Node runs, and says what to do when it does not. Quiet when there is nothing to do.
 * Plain JavaScript for any Node ≥ 20. All it says goes to stderr: stdout belongs to the command that follows.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { isCurrent, pinnedNodeProblem, ROOT } from './install-check.js'

const say = (text) => process.stderr.write(`${text}\n`)

const stop = (text) => {
  say(`\n${text}\n`)
  process.exit(2)
}

const install = () => {
  // not the Node in node_modules, which is about to be removed
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !folder.startsWith(join(ROOT, 'node_modules')))
    .join(delimiter)
  // errors only: on an older Node, npm would warn about each package whose engine it is not, though none will run on it
  const { status, error } = spawnSync('npm', ['ci', '--loglevel=error', '--no-audit', '--no-fund'], {
    cwd: ROOT,
    env: { ...process.env, PATH: path },
    stdio: ['ignore', process.stderr, process.stderr],
  })
  if (error) stop(`npm cannot be run: ${error.message}`)
  if (status !== 0)
    stop(
      'npm ci failed: see above. It needs to reach your npm registry; nothing outside this checkout was changed.',
    )
}

/** For `sallyport up`, which shows it beside its own time. */
const noteSeconds = (seconds) => {
  const folder = join(resolve(process.env.SALLYPORT_HOME || ROOT), 'run')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'install.json'), `${JSON.stringify({ seconds, at: Date.now() })}\n`)
}

/** npm links the commands of packages but not of the project itself, for which `npx sallyport` then takes seconds instead of none. */
const linkCommand = () => {
  try {
    symlinkSync(join('..', '..', 'bin', 'sallyport.js'), join(ROOT, 'node_modules', '.bin', 'sallyport'))
  } catch {
    // there already, or not possible here; without it npx is slow and not wrong
  }
}

const began = Date.now()
const current = isCurrent()
if (!current) {
  say('Installing what package-lock.json names (once; again only when it changes) …')
  install()
}
const problem = pinnedNodeProblem()
if (problem !== undefined) stop(problem)
linkCommand()
if (!current) {
  const seconds = Math.round((Date.now() - began) / 100) / 10
  noteSeconds(seconds)
  say(`Installed in ${seconds} s.`)
}
