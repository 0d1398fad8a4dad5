/** What a device holds: its key, its certificate, the root it trusts. Not how it got them: that is enroll-device.ts. */

/** All PEM. `chainPem`: intermediates, no root; may be empty. */
export type Identity = {
  readonly keyPem: string
  readonly certificatePem: string
  readonly chainPem: string
}

/** Dates are ms since the epoch; `serial` is hex. */
export type Enrolled = Identity & {
  readonly deviceId: string
  readonly rootPem: string
  readonly notAfter: number
  readonly renewAfter: number
  readonly serial: string
}

/** Where the public doors are: `https://…`, `mqtts://…`. */
export type Targets = {
  readonly enroll: string
  readonly https: string
  readonly mqtts: string
}
