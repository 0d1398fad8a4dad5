/** Who asks for a certificate, proved: what every way of authenticating ends in, and the one enrolment begins with. */

import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { CredentialKind } from '#fleet/enrollment-group.ts'
import type { Reservation } from '#registry/registry.ts'

export type Claim = {
  readonly kind: CredentialKind
  /** the token's id, the SHA-256 of a bootstrap certificate's signed part; '' for who has proved nothing but a key */
  readonly id: string
  /** of a bootstrap certificate, as it was shown. Not what it is counted by: by a twin of its signature it has another one */
  readonly fingerprint?: string
  readonly actor: Actor
  /** the group that the credential belongs to; the device's own record, when there is one, says it better */
  readonly group: string
  /** the id that it is good for; undefined: it makes new devices only */
  readonly bound: DeviceId | undefined
  /** ms; undefined: the group's */
  readonly ttl: number | undefined
  /** for the group's id template: `cert.cn`, `cert.serial_number` */
  readonly variables: Readonly<Record<string, string>>
  /** The credential has ended, and is listened to only because an operator was asked in time. */
  readonly late: boolean
}

/** How the registry is told. `uses`: of a bootstrap certificate. */
export const credentialOf = (claim: Claim, uses: number): Reservation['credential'] => {
  switch (claim.kind) {
    case 'token':
      return { kind: 'token', id: claim.id }
    case 'bootstrap':
      return { kind: 'bootstrap', id: claim.id, uses, bound: claim.bound !== undefined }
    case 'allow_list':
      return { kind: 'allow_list' }
    case 'approval':
      return { kind: 'approval', id: claim.id }
  }
}
