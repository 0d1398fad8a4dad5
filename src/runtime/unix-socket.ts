/**
 * The place of a Unix socket: who may stand there and who may come to it, by the modes of files. Node cannot ask who is at the other end
 * (SO_PEERCRED), so the modes are all there is. Not what is said on it.
 */

import { chmodSync, chownSync, lstatSync, mkdirSync, statSync, unlinkSync, type Stats } from 'node:fs'
import { once } from 'node:events'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { FleetError } from '#fleet/errors.ts'

const OTHERS_WRITE = 0o022
/** sun_path of Linux, with its NUL; a longer name would be cut by some and refused by others */
const MAX_PATH_BYTES = 107

export type SocketPlace = {
  readonly path: string
  /** what to blame */
  readonly setting: string
  /** what may listen there, as it is called in errors: `signer` */
  readonly who: string
  /** of the folder when it is made, and of the socket */
  readonly folderMode: number
  readonly socketMode: number
  /** gid of the socket; undefined: the process's own */
  readonly group: number | undefined
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown'
const octal = (mode: number): string => (mode & 0o7777).toString(8).padStart(4, '0')

const refuse = (setting: string, problem: string, cause?: unknown): never => {
  throw new FleetError('config_invalid', `${setting}: ${problem}`, { cause })
}

/** Whoever may write in the folder may put a socket of their own in the place of ours. @returns what is wrong */
const folderProblem = (path: string, stat: Stats): string | undefined =>
  (stat.mode & OTHERS_WRITE) === 0
    ? undefined
    : `${path} may be written by others (mode ${octal(stat.mode)}): run chmod go-w ${path}`

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

/** The name that a dead process has left is taken away; a living one's is not, nor anything that is no socket. */
const clear = async ({ path, setting, who }: SocketPlace): Promise<void> => {
  let stat: Stats
  try {
    stat = lstatSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (!stat.isSocket()) refuse(setting, `${path} is there and is no socket`)
  if (await isLive(path)) refuse(setting, `another ${who} listens on ${path}`)
  unlinkSync(path)
}

/**
 * Listens there. Its folder is made when it is missing.
 * @throws FleetError `config_invalid`: others may write in the folder, the place is taken, or the group is not ours to give
 */
export const listenOnSocketFile = async (server: Server, place: SocketPlace): Promise<void> => {
  const { path, setting, who, group } = place
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    refuse(setting, `${path} is longer than ${MAX_PATH_BYTES} bytes, which no socket's name may be`)
  const folder = dirname(path)
  try {
    mkdirSync(folder, { recursive: true, mode: place.folderMode })
    const problem = folderProblem(folder, statSync(folder))
    if (problem !== undefined) refuse(setting, problem)
    await clear(place)
    // born closed: nobody but the owner comes in before its group and mode are right
    const umask = process.umask(0o177)
    try {
      server.listen({ path })
    } finally {
      process.umask(umask)
    }
    await once(server, 'listening')
    if (group !== undefined) chownSync(path, -1, group)
    chmodSync(path, place.socketMode)
  } catch (cause) {
    server.close()
    if (cause instanceof FleetError) throw cause
    const what: Readonly<Record<string, string>> = {
      EADDRINUSE: `another ${who} listens on ${path}`,
      EPERM: `its group cannot be made ${group}: this process is not in it`,
    }
    refuse(setting, what[codeOf(cause)] ?? `${path} cannot be used: ${codeOf(cause)}`, cause)
  }
}

/**
 * For who comes to the socket, each time: is it the one that should be there? Only its owner (or root) may write where it stands.
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
