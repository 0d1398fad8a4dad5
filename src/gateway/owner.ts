/** Whose a certificate is, as assertions, session tokens and answers spell it. Not how a log line does: nameOf of #policy/admission.ts. */

import type { Identity } from '#policy/decision.ts'

export type Owner = {
  readonly commonName: string
  /** undefined: a foreign certificate */
  readonly deviceId: string | undefined
  /** whose word the common name is; undefined: a device */
  readonly anchor: string | undefined
}

/** undefined: no certificate is its own, so that it can have no session. */
export const ownerOf = (identity: Identity): Owner | undefined => {
  if (identity.kind === 'device') return { commonName: identity.id, deviceId: identity.id, anchor: undefined }
  if (identity.kind === 'foreign')
    return { commonName: identity.name, deviceId: undefined, anchor: identity.anchor }
  return undefined
}
