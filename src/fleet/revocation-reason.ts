/** RFC 5280 §5.3.1 CRLReason, one table. removeFromCRL (8) belongs to delta CRLs, which we do not make. */

export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const

export type RevocationReason = keyof typeof REVOCATION_REASONS

const BY_CODE: ReadonlyMap<number, RevocationReason> = new Map(
  Object.entries(REVOCATION_REASONS).map(([name, code]) => [code, name as RevocationReason]),
)

/** @returns undefined: a code that RFC 5280 does not have, or that we do not write */
export const reasonOfCode = (code: number | undefined): RevocationReason | undefined =>
  code === undefined ? undefined : BY_CODE.get(code)

/** What an operator may give for a device: a hold is `suspend`, and the CA's own reasons are not a device's. */
export const DEVICE_REVOCATION_REASONS = [
  'unspecified',
  'keyCompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
] as const satisfies readonly RevocationReason[]
export type DeviceRevocationReason = (typeof DEVICE_REVOCATION_REASONS)[number]

/** What an operator may give for an issuing CA: these stand in the root's CRL. */
export const ISSUER_REVOCATION_REASONS = [
  'unspecified',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
] as const satisfies readonly RevocationReason[]
export type IssuerRevocationReason = (typeof ISSUER_REVOCATION_REASONS)[number]
