/**
 * `npm run reset`: deletes the development PKI, the registry, logs and run files of $SALLYPORT_HOME (default: this checkout).
 * Asks first; `--yes` answers. Every device has to enrol again afterwards. Not the installation: node_modules stays.
 */

import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { parseArgs } from 'node:util'
import { ROOT } from './install-check.js'

const home = resolve(process.env.SALLYPORT_HOME || ROOT)

/** What each folder loses; what a checkout keeps there stays. */
const FOLDERS = {
  certs: (name) => name === 'private' || name === 'issuers' || name.endsWith('.pem'),
  db: (name) => /\.sqlite(-wal|-shm|-journal|\.witness|\.lock)?$/.test(name),
  run: () => true,
  log: () => true,
}

const doomed = () =>
  Object.entries(FOLDERS).flatMap(([folder, goes]) => {
    const path = join(home, folder)
    if (!existsSync(path) || !statSync(path).isDirectory()) return []
    return readdirSync(path)
      .filter(goes)
      .map((name) => join(path, name))
  })

const isAlive = (pid) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Run files, and `up.pid`, name their process first. */
const running = () => {
  const folder = join(home, 'run')
  if (!existsSync(folder)) return undefined
  // the state of simulated devices lies there too, in folders
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const { name } = entry
    const pid = Number(/^(?:\{"pid":)?(\d+)/.exec(readFileSync(join(folder, name), 'utf8'))?.[1])
    if (pid > 0 && isAlive(pid)) return `${name.replace(/\..*$/, '')}, process ${pid}`
  }
  return undefined
}

const confirm = async () => {
  if (!process.stdin.isTTY) return false
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question('Delete all of this? Type yes: ')
  terminal.close()
  return answer.trim().toLowerCase() === 'yes'
}

const say = (text) => process.stderr.write(`${text}\n`)

let yes
try {
  yes = parseArgs({ options: { yes: { type: 'boolean', default: false } } }).values.yes
} catch (error) {
  say(`${error.message}\nusage: npm run reset [-- --yes]`)
  process.exit(2)
}
const paths = doomed()
const desk = running()
if (desk !== undefined) {
  say(`Sallyport is running on ${home} (${desk}). Stop it first.`)
  process.exit(1)
} else if (paths.length === 0) say(`Nothing to delete in ${home}.`)
else {
  for (const path of paths) say(`  ${path}`)
  if (yes || (await confirm())) {
    for (const path of paths) rmSync(path, { recursive: true, force: true })
    say('Deleted. `npm start` makes a new PKI and registry.')
  } else {
    say('Nothing was deleted. To answer in advance: npm run reset -- --yes')
    process.exitCode = 1
  }
}
