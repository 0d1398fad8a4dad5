/**
 * The text of a claim token and of an operator token. Secrets: never logged, only the hash of `secret` is stored.
 * A claim token carries the SHA-256 of the root certificate, so that a client checks the server before it sends the secret.
 */

const CLAIM = /^spt1\.([a-z0-9]{16})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/
const OPERATOR = /^spo1\.([a-z0-9]{16})\.([A-Za-z0-9_-]{43})$/

export type ClaimTokenParts = {
  readonly id: string
  readonly secret: string
  readonly rootSha256: Uint8Array
}
export type OperatorTokenParts = { readonly id: string; readonly secret: string }

/** @param secret 32 random bytes, base64url. @param rootSha256 32 bytes */
export const formatClaimToken = (id: string, secret: string, rootSha256: Uint8Array): string =>
  `spt1.${id}.${secret}.${Buffer.from(rootSha256).toString('base64url')}`

/** @returns undefined when the text is not a claim token: no reason is given, none is needed. */
export const parseClaimToken = (text: string): ClaimTokenParts | undefined => {
  const [, id, secret, root] = CLAIM.exec(text) ?? []
  if (id === undefined || secret === undefined || root === undefined) return undefined
  return { id, secret, rootSha256: Buffer.from(root, 'base64url') }
}

export const formatOperatorToken = (id: string, secret: string): string => `spo1.${id}.${secret}`

export const parseOperatorToken = (text: string): OperatorTokenParts | undefined => {
  const [, id, secret] = OPERATOR.exec(text) ?? []
  return id === undefined || secret === undefined ? undefined : { id, secret }
}
