/**
 * An enrolment group: by which credentials its devices come, what they are called, what their certificates look like and how they are
 * renewed. What an administrator says; how it is judged is #policy's. Written under `PUT /v1/groups/{name}` and in `fleet.yaml`.
 */

import { DAY } from './clock.ts'
import { KEY_KINDS, type KeyKind } from './certificate.ts'

/**
 * `token`: a claim token. `bootstrap`: a certificate of the group's own anchors (manufacturer CA, IDevID, shared claim certificate).
 * `allow_list`: an id that was registered before, with the key on record when there is one. `approval`: nothing but an operator's yes.
 */
export const CREDENTIAL_KINDS = ['token', 'bootstrap', 'allow_list', 'approval'] as const
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number]

/** What happens, beside the refusal, to a device of which a superseded certificate asks to be renewed with another key. */
export const CLONE_ACTIONS = ['alert', 'suspend', 'approval'] as const
export type CloneAction = (typeof CLONE_ACTIONS)[number]

/** What certificates of the group say beside the device id. Texts are templates: `${device.id}`. */
export type CertificateProfile = {
  /** RFC 5280 §4.1.2.4: O and OU of the subject */
  readonly organization: string | undefined
  readonly organizationalUnit: string | undefined
  /** SAN dNSName */
  readonly dnsNames: readonly string[]
}

export type BootstrapTrust = {
  /** PEM, one or more certificates, roots or intermediates: each is trusted for what it is */
  readonly anchors: string
  /** PEM, CRLs of those CAs. With any given, each CA of a chain must have a current one: fail closed */
  readonly crls: string | undefined
  /** a certificate without any EKU is taken (IDevIDs often have none); one with an EKU must name clientAuth */
  readonly allowNoEku: boolean
  /** how many certificates one bootstrap certificate may yield: 1 for an IDevID, more for a shared claim certificate */
  readonly certificatesPerCredential: number
}

/** Times in ms. */
export type EnrollmentGroup = {
  readonly name: string
  /** false: nobody enrols or renews by it. What is admitted stays admitted */
  readonly enabled: boolean
  readonly credentials: readonly CredentialKind[]
  /** every enrolment waits for an operator, whatever the credential */
  readonly approval: boolean
  /** only ids that were registered before (`sallyport device import`), whatever the credential */
  readonly registeredOnly: boolean
  /**
   * `${csr.cn}`, `${cert.cn}`, `${cert.serial_number}` and literal text. With `cert.*` it makes the id of who comes with a bootstrap
   * certificate; else the id asked for must have its form. undefined: any device id
   */
  readonly idTemplate: string | undefined
  /** of new devices */
  readonly tags: Readonly<Record<string, string>>
  readonly profile: CertificateProfile
  readonly keyKinds: readonly KeyKind[]
  /** what is granted when the credential says nothing, and the most that it may say */
  readonly certificateTtl: number
  readonly maxCertificateTtl: number
  /** shares of a certificate's life between which it is to be renewed; each device is told its own moment in it */
  readonly renewalWindow: { readonly from: number; readonly to: number }
  /** a renewed certificate that is not used or confirmed by then is withdrawn */
  readonly confirmWithin: number
  readonly renewalsPerDay: number
  /** how long after its end a certificate still renews (0: not), and how often in a row a device may come so late */
  readonly expiredGrace: number
  readonly expiredRenewals: number
  readonly onClone: CloneAction
  /** `/.well-known/est/<label>/`; no two groups share one */
  readonly estLabels: readonly string[]
  readonly quotas: {
    readonly devices: number | undefined
    readonly certificatesPerHour: number | undefined
    /** enrolments that wait for an operator */
    readonly openRequests: number
  }
  readonly bootstrap: BootstrapTrust | undefined
  /** https; `ca`: PEM, instead of the public roots. Its HMAC secret is `enroll.webhook_secret_file` */
  readonly webhook: { readonly url: string; readonly ca: string | undefined } | undefined
}

/** The group of whoever is in no other. It exists also when nobody has written it. */
export const FIRST_GROUP = 'default'

/** What a group is when nothing is said about it. */
export const GROUP_DEFAULTS: Omit<EnrollmentGroup, 'name'> = {
  enabled: true,
  credentials: ['token'],
  approval: false,
  registeredOnly: false,
  idTemplate: undefined,
  tags: {},
  profile: { organization: undefined, organizationalUnit: undefined, dnsNames: [] },
  keyKinds: KEY_KINDS,
  certificateTtl: 30 * DAY,
  maxCertificateTtl: 3_650 * DAY,
  renewalWindow: { from: 2 / 3, to: 5 / 6 },
  confirmWithin: 7 * DAY,
  renewalsPerDay: 10,
  expiredGrace: 30 * DAY,
  expiredRenewals: 3,
  onClone: 'alert',
  estLabels: [],
  quotas: { devices: undefined, certificatesPerHour: undefined, openRequests: 1_000 },
  bootstrap: undefined,
  webhook: undefined,
}
