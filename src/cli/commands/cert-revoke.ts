/** `cert revoke`: one certificate. Its device stays: `device revoke` ends all that a device has. */

import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import type { CertificateShown, SerialRevoked } from '#wire/revocations.ts'
import { online, reasonOption, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'

type Options = Online & { readonly reason: string; readonly issuer?: string; readonly notAfter?: string }

const revokeSerial = async (io: Io, options: Options, issuer: string, serial: string): Promise<void> => {
  const path = `/v1/issuers/${encodeURIComponent(issuer)}/serials/${encodeURIComponent(serial)}/revoke`
  const { reason, notAfter } = options
  const body = { reason, ...(notAfter === undefined ? {} : { not_after: notAfter }) }
  const done = await connect(io, options).call<SerialRevoked>('POST', path, { body })
  show(io, options, done, () => [
    `serial ${done.serial} of issuer ${done.issuer} is revoked (${done.revocation_reason}): it stands on the next CRL until ${done.not_after}, and OCSP says so`,
    done.on_record
      ? 'it is a certificate that was issued here: npx sallyport cert show tells of which device'
      : 'no certificate on record has it: who signed it has used the key of this issuer, so think about npx sallyport issuer revoke',
  ])
}

export const certRevoke = (io: Io): Command =>
  online('revoke', 'void one certificate, at once', 'cert revoke 4f0c9a1e… --reason keyCompromise')
    .addOption(reasonOption())
    .option('--issuer <ski>', 'of this issuer, though no certificate on record has the serial')
    .option('--not-after <instant>', "with --issuer: when that certificate ends (default: its issuer's end)")
    .argument('<serial>', 'hex, as `cert ls` and openssl print it')
    .action(async (serial: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      if (options.issuer !== undefined) {
        await revokeSerial(io, options, options.issuer, serial)
        return
      }
      if (options.notAfter !== undefined)
        throw new FleetError(
          'config_invalid',
          '--not-after is for a serial that is on no record: say --issuer too',
        )
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
