/** MEMORY that an enrolment asks beside `reserve`. A part of {@link Registry}. */

import type { CertificateRecord } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { CredentialKind } from '#fleet/enrollment-group.ts'

/** `id`: of the token or the approved request, the SHA-256 of the bootstrap certificate's signed part, the id of the listed device. */
export type UsedCredential = { readonly kind: CredentialKind; readonly id: string }

export interface EnrollmentMemory {
  /** The newest certificate, `intended` ones too, that this credential gave this key. `askedId`: as in the reservation. */
  findUse(
    credential: UsedCredential,
    spkiSha256: string,
  ): Promise<(CertificateRecord & { readonly askedId: DeviceId | undefined }) | undefined>
}
