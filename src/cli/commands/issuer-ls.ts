/** `issuer ls`: the CAs that devices' certificates come from, and how far each of them is. */

import type { Command } from 'commander'
import type { Issuer } from '#wire/rest.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'
import { fetchedText } from '../rotating.ts'
import { ISSUERS } from './issuers.ts'

const day = (instant: string): string => instant.slice(0, 10)

export const issuerLs = (io: Io): Command =>
  listing('list issuing CAs', 'issuer ls').action(
    list<Issuer>(io, {
      path: ISSUERS.path,
      heads: ['SKI', 'NAME', 'STATE', 'UNTIL', 'KEY', 'IN USE', 'FETCHED'],
      row: (issuer) => [
        issuer.ski,
        issuer.common_name ?? '-',
        issuer.signs ? `${issuer.state}, signs` : issuer.state,
        day(issuer.not_after),
        issuer.key_here ? 'here' : '-',
        String(issuer.live_certificates),
        fetchedText(issuer),
      ],
      none: 'No issuers.',
    }),
  )
