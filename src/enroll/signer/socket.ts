/**
 * The place of the socket: who may stand there and who may come to it, by the modes of files. Node cannot ask who is at the other end
 * (SO_PEERCRED), so the modes are all there is: they are checked, on both sides. Not what is said on it: connections.ts, signer-client.ts.
 */

import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  type Stats,
} from 'node:fs'
import { once } from 'node:events'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { FleetError } from '#fleet/errors.ts'

const FOLDER_MODE = 0o750
const SOCKET_MODE = 0o660
const OTHERS_WRITE = 0o022
/** sun_path of Linux, with its NUL; a longer name would be cut by some and refused by others */
const MAX_PATH_BYTES = 107

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown'
const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')

/** Whoever may write in the folder may put a socket of their own in the place of ours. @returns what is wrong */
const folderProblem = (path: string, stat: Stats): string | undefined =>
  (stat.mode & OTHERS_WRITE) === 0
    ? undefined
    : `${path} may be written by others (mode ${octal(stat.mode)}): run chmod go-w ${path}`

const refuse = (key: string, problem: string, cause?: unknown): never => {
  throw new FleetError('config_invalid', `${key}: ${problem}`, { cause })
}

const GROUPS = '/etc/group'

/** Node has no getgrnam(3): names of other directories (LDAP, systemd's dynamic users) are not known here. @throws FleetError `config_invalid` */
export const groupId = (group: string): number => {
  if (/^\d+$/.test(group)) return Number(group)
  const line = readFileSync(GROUPS, 'utf8')
    .split('\n')
    .map((each) => each.split(':'))
    .find(([name]) => name === group)
  return line?.[2] === undefined
    ? refuse('signer.socket_group', `there is no group ${group} in ${GROUPS}: give its number`)
    : Number(line[2])
}

/** Does somebody answer there? */
const isLive = async (path: string): Promise<boolean> => {
  const socket = connect({ path })
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    // a backlog that is full has somebody behind it
    return !['ECONNREFUSED', 'ENOENT'].includes(codeOf(error))
  } finally {
    socket.destroy()
  }
}

/** The name that a dead signer has left is taken away; a living one's is not, nor anything that is no socket. */
const clear = async (path: string): Promise<void> => {
  let stat: Stats
  try {
    stat = lstatSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (!stat.isSocket()) refuse('signer.socket', `${path} is there and is no socket`)
  if (await isLive(path)) refuse('signer.socket', `another signer listens on ${path}`)
  unlinkSync(path)
}

/**
 * Listens at `path`, for its owner and one group. Its folder is made when it is missing, 0750.
 * @param o.group its gid; undefined: the process's own
 * @throws FleetError `config_invalid`: the folder is open to others, the place is taken, the group is not ours to give
 */
export const listenOnSocket = async (
  server: Server,
  o: { readonly path: string; readonly group: number | undefined },
): Promise<void> => {
  const { path, group } = o
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    refuse('signer.socket', `${path} is longer than ${MAX_PATH_BYTES} bytes, which no socket's name may be`)
  const folder = dirname(path)
  try {
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE })
    const problem = folderProblem(folder, statSync(folder))
    if (problem !== undefined) refuse('signer.socket', problem)
    await clear(path)
    // born closed: nobody but the owner comes in before the group is right
    const umask = process.umask(0o177)
    try {
      server.listen({ path })
    } finally {
      process.umask(umask)
    }
    await once(server, 'listening')
    if (group !== undefined) chownSync(path, -1, group)
    chmodSync(path, SOCKET_MODE)
  } catch (cause) {
    server.close()
    if (cause instanceof FleetError) throw cause
    const what: Readonly<Record<string, string>> = {
      EADDRINUSE: `another signer listens on ${path}`,
      EPERM: `its group cannot be made ${group}: this process is not in it`,
    }
    refuse('signer.socket', what[codeOf(cause)] ?? `${path} cannot be used: ${codeOf(cause)}`, cause)
  }
}

/**
 * For who comes to the socket, each time: is it the signer's? Only its owner (or root) may write where it stands.
 * @returns what is wrong; undefined: nothing
 */
export const socketProblem = (path: string): string | undefined => {
  try {
    const [socket, folder] = [lstatSync(path), statSync(dirname(path))]
    if (!socket.isSocket()) return `${path} is no socket`
    if (folder.uid !== 0 && folder.uid !== socket.uid)
      return `${path} belongs to user ${socket.uid}, and its folder to user ${folder.uid}`
    return folderProblem(dirname(path), folder)
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? `there is no socket at ${path}` : `${path}: ${codeOf(error)}`
  }
}
