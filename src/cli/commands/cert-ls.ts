/** `cert ls`: certificates of all devices or of one, newest first, a page at a time. */

import { Option, type Command } from 'commander'
import { LISTED_STATES, type CertificateItem } from '#wire/revocations.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'

export const certLs = (io: Io): Command =>
  listing('list certificates of devices, newest first', 'cert ls --device pump-7')
    .option('--device <id>', 'of this device only: all that it ever had')
    .addOption(new Option('--state <state>', 'only those').choices(LISTED_STATES))
    .action(
      list<CertificateItem>(io, {
        path: '/v1/certificates',
        heads: ['SERIAL', 'DEVICE', 'STATE', 'NOT AFTER', 'REVOKED'],
        row: (item) => [
          item.serial,
          item.device_id,
          item.state,
          item.not_after,
          item.revoked_at === undefined ? '' : `${item.revoked_at} ${item.revocation_reason ?? ''}`,
        ],
        none: 'No such certificates.',
      }),
    )
