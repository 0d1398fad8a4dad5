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

/**
 * What an operator may give, for whatever is revoked: every reason of the RFC but a hold, which is `suspend` and which no CA has, and
 * removeFromCRL, which is for delta CRLs. They stand on the CRL of whoever issued it; of an issuing CA that is the root's, or that of a CA
 * between. Of a device's key only `keyCompromise` says that others have it: `cACompromise` and `aACompromise` say it of who vouched for it.
 */
export const GIVEN_REVOCATION_REASONS = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
  'aACompromise',
] as const satisfies readonly RevocationReason[]
export type GivenRevocationReason = (typeof GIVEN_REVOCATION_REASONS)[number]
