/**
 * A Unix socket for processes of one user: who may come to it is said by the modes of files, because Node cannot ask who is at the other end
 * (SO_PEERCRED). Not what is said on it.
 */

import { chmodSync, lstatSync, mkdirSync, statSync, unlinkSync, type Stats } from 'node:fs'
import { once } from 'node:events'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { FleetError } from '#fleet/errors.ts'

const FOLDER_MODE = 0o700
const SOCKET_MODE = 0o600
const OTHERS_WRITE = 0o022
/** sun_path of Linux, with its NUL; a longer name would be cut by some and refused by others */
const MAX_PATH_BYTES = 107

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown'

const refuse = (setting: string, problem: string, cause?: unknown): never => {
  throw new FleetError('config_invalid', `${setting}: ${problem}`, { cause })
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

/** The name that a dead process has left is taken away; a living one's is not, nor anything that is no socket. */
const clear = async (path: string, setting: string): Promise<void> => {
  let stat: Stats
  try {
    stat = lstatSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return
    throw error
  }
  if (!stat.isSocket()) refuse(setting, `${path} is there and is no socket`)
  if (await isLive(path)) refuse(setting, `another process listens on ${path}`)
  unlinkSync(path)
}

/**
 * Listens at `path`, 0600. Its folder is made when it is missing, 0700; whoever may write in it could put a socket of their own in the place of ours.
 * @param o.setting what to blame
 * @throws FleetError `config_invalid`: others may write in the folder, or the place is taken
 */
export const listenForOwnUser = async (
  server: Server,
  o: { readonly path: string; readonly setting: string },
): Promise<void> => {
  const { path, setting } = o
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    refuse(setting, `${path} is longer than ${MAX_PATH_BYTES} bytes, which no socket's name may be`)
  const folder = dirname(path)
  try {
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE })
    if ((statSync(folder).mode & OTHERS_WRITE) !== 0)
      refuse(setting, `${folder} may be written by others: run chmod go-w ${folder}`)
    await clear(path, setting)
    // born closed: nobody but the owner comes in before its mode is right
    const umask = process.umask(0o177)
    try {
      server.listen({ path })
    } finally {
      process.umask(umask)
    }
    await once(server, 'listening')
    chmodSync(path, SOCKET_MODE)
  } catch (cause) {
    server.close()
    if (cause instanceof FleetError) throw cause
    const taken = codeOf(cause) === 'EADDRINUSE'
    refuse(
      setting,
      taken ? `another process listens on ${path}` : `${path} cannot be used: ${codeOf(cause)}`,
      cause,
    )
  }
}
