/** `rm NAME` of whatever `apply` puts there, as it was when it was read: what another operator changed meanwhile is not removed with it. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

/** @param called what it is to people; @param path of the collection */
export const accessRemove = (
  io: Io,
  word: string,
  o: { readonly called: string; readonly path: string; readonly example: string },
): Command =>
  online('rm', 'remove one, at once; --json prints what it was', `${word} rm ${o.example}`)
    .argument('<name>')
    .action(async (name: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const api = connect(io, options)
      const path = `${o.path}/${encodeURIComponent(name)}`
      const found = await api.find(path)
      if (found === undefined) throw new FleetError('not_found', `no such ${o.called}: ${name}`)
      await api.call('DELETE', path, { unchangedSince: found.etag })
      show(io, options, found.value, () => [`${o.called} ${name} is removed`])
    })
