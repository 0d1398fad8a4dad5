/** The signer's socket: for its owner, and for one group, which desks are in. How a socket is made: #runtime/unix-socket.ts. */

import { readFileSync } from 'node:fs'
import type { Server } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import { listenOnSocketFile } from '#runtime/unix-socket.ts'

const GROUPS = '/etc/group'

/** Node has no getgrnam(3): names of other directories (LDAP, systemd's dynamic users) are not known here. @throws FleetError `config_invalid` */
export const groupId = (group: string): number => {
  if (/^\d+$/.test(group)) return Number(group)
  const line = readFileSync(GROUPS, 'utf8')
    .split('\n')
    .map((each) => each.split(':'))
    .find(([name]) => name === group)
  if (line?.[2] === undefined)
    throw new FleetError(
      'config_invalid',
      `signer.socket_group: there is no group ${group} in ${GROUPS}: give its number`,
    )
  return Number(line[2])
}

/**
 * @param o.group its gid; undefined: the process's own
 * @throws FleetError `config_invalid`: the folder is open to others, the place is taken, the group is not ours to give
 */
export const listenOnSocket = (
  server: Server,
  o: { readonly path: string; readonly group: number | undefined },
): Promise<void> =>
  listenOnSocketFile(server, {
    ...o,
    setting: 'signer.socket',
    who: 'signer',
    folderMode: 0o750,
    socketMode: 0o660,
  })
