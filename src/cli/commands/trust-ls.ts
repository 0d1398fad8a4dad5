/** `trust ls`: the roots that devices verify servers with, and how far each of them is. */

import type { Command } from 'commander'
import type { TrustAnchor } from '#wire/rest.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'
import { fetchedText } from '../rotating.ts'
import { TRUST_ANCHORS } from './trust-anchors.ts'

export const trustLs = (io: Io): Command =>
  listing('list the roots that devices verify servers with', 'trust ls').action(
    list<TrustAnchor>(io, {
      path: TRUST_ANCHORS.path,
      heads: ['SHA-256', 'NAME', 'STATE', 'UNTIL', 'PRESENTED', 'FETCHED'],
      row: (anchor) => [
        anchor.fingerprint,
        anchor.common_name ?? '-',
        anchor.state,
        anchor.not_after.slice(0, 10),
        anchor.presented ? 'yes' : '-',
        fetchedText(anchor),
      ],
      none: 'No server anchors.',
    }),
  )
