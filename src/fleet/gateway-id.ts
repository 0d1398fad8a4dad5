/**
 * The name of a gateway at the enroll desk: the one SAN URI of its client certificate. Not whether the certificate is good: #policy/keys.ts and
 * #enroll/relay-gateway.ts.
 */

/** As of applications and groups. */
const GATEWAY_ID = /^[a-z0-9][a-z0-9-]{0,62}$/
const GATEWAY_URI = 'urn:sallyport:gateway:'

export const isGatewayId = (text: string): boolean => GATEWAY_ID.test(text)

export const gatewayUri = (gatewayId: string): string => `${GATEWAY_URI}${gatewayId}`

/** Does it mean a gateway, in whatever spelling (RFC 8141 §3.1)? */
export const isGatewayUri = (uri: string): boolean => uri.toLowerCase().startsWith(GATEWAY_URI)

/** @returns undefined: it names none, or not in our spelling */
export const gatewayIdIn = (uri: string): string | undefined => {
  const id = uri.startsWith(GATEWAY_URI) ? uri.slice(GATEWAY_URI.length) : ''
  return isGatewayId(id) ? id : undefined
}
