/** `anchor crl NAME [FILE]`: how the CRLs of an anchor stand, or a new one of them. */

import type { Command } from 'commander'
import type { AnchorCrlPut, AnchorCrls } from '#wire/access-credentials.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { table } from '../output.ts'
import { readGiven } from '../read-given.ts'

/** PEM as it is; DER as base64. */
const textOf = (octets: Buffer): string => octets.toString(octets[0] === 0x30 ? 'base64' : 'utf8')

const lines = ({ anchor, on_stale, authorities, sources }: AnchorCrls): readonly string[] => [
  on_stale === null
    ? `Anchor ${anchor} asks for no CRLs: nobody looks whether its certificates are revoked.`
    : `Anchor ${anchor}: a certificate of which nobody can say whether it is revoked is ${on_stale === 'fail_closed' ? 'refused' : 'let in'}.`,
  '',
  ...table(
    ['CA', 'CRL', 'NUMBER', 'REVOKED', 'ENDS', 'FROM'],
    authorities.map((ca) => [
      ca.common_name ?? ca.spki_sha256,
      ca.state,
      ca.number ?? '-',
      ca.entries === null ? '-' : String(ca.entries),
      ca.next_update ?? '-',
      ca.source ?? '-',
    ]),
  ),
  ...(sources.length === 0
    ? []
    : [
        '',
        ...table(
          ['URL', 'LAST GOOD ANSWER', 'NOW'],
          sources.map(({ url, fetched_at, problem }) => [url, fetched_at ?? 'never', problem ?? 'good']),
        ),
      ]),
]

export const anchorCrl = (io: Io): Command =>
  online('crl', 'how the CRLs of an anchor stand; with a file, upload one', 'anchor crl partner partner.crl')
    .argument('<name>')
    .argument('[file]', 'a CRL of one of its CAs, PEM or DER')
    .action(async (name: string, file: string | undefined, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const path = `/v1/anchors/${encodeURIComponent(name)}/crl`
      const api = connect(io, options)
      const put = (body: AnchorCrlPut) => api.call<AnchorCrls>('PUT', path, { body })
      const state = await (file === undefined
        ? api.call<AnchorCrls>('GET', path)
        : put({ crl: textOf(readGiven(io, file)) }))
      show(io, options, state, () => lines(state))
    })
