/**
 * The name of a device: the CN of its certificate, its MQTT ClientID, and a level of its topics.
 * Not an identity by itself: a certificate is mapped to a device by fingerprint only.
 */

declare const deviceId: unique symbol
export type DeviceId = string & { readonly [deviceId]: true }

/** JSON Schema pattern. No `/ + # $`, no control characters: safe as one MQTT topic level and as a CN (≤ 64, RFC 5280 ub-common-name). */
export const DEVICE_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._~:-]{0,63}$'

const grammar = new RegExp(DEVICE_ID_PATTERN)

export const isDeviceId = (text: string): text is DeviceId => grammar.test(text)
