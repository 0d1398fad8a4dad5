/** `cert revoke`: one certificate. Its device stays: `device revoke` ends all that a device has. */

import { Option, type Command } from 'commander'
import { DEVICE_REVOCATION_REASONS } from '#fleet/revocation-reason.ts'
import type { CertificateShown } from '#wire/revocations.ts'
import { online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

export const reasonOption = (): Option =>
  new Option('--reason <name>', 'RFC 5280 reason').choices(DEVICE_REVOCATION_REASONS).default('unspecified')

export const certRevoke = (io: Io): Command =>
  online('revoke', 'void one certificate, at once', 'cert revoke 4f0c9a1e… --reason keyCompromise')
    .addOption(reasonOption())
    .argument('<serial>', 'hex, as `cert ls` and openssl print it')
    .action(async (serial: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online & { reason: string }>()
      const shown = await connect(io, options).call<CertificateShown>(
        'POST',
        `/v1/certificates/${encodeURIComponent(serial)}/revoke`,
        { body: { reason: options.reason } },
      )
      show(io, options, shown, () => [
        `certificate ${shown.serial} of ${shown.device_id} is revoked (${shown.revocation_reason ?? 'unspecified'}): no door takes it, and it stands on the next CRL`,
        `the device stays as it is: npx sallyport device revoke ${shown.device_id} would end it`,
      ])
    })
