/**
 * The certificate of a delegated OCSP responder (RFC 6960 §4.2.2.2): it may sign answers for the CA that issued it and nothing else, lives
 * for days, and is not itself checked. Not the key, and not the answers: those are #enroll's.
 */

import { authorityKeyIdDer } from './crl.ts'
import { nameDer } from './names.ts'
import { NO_CHECK } from './ocsp.ts'
import { OID } from './oids.ts'
import {
  DIGITAL_SIGNATURE,
  NOT_A_CA,
  subjectKeyIdDer,
  tbs,
  usesDer,
  type Signer,
  type Subject,
} from './profile.ts'

const OCSP_SIGNING = usesDer(OID.ocspSigning)

/** Without CDP and AIA: nobody is to ask whether it is revoked. */
export const responderTbs = (signer: Signer, subject: Subject): Buffer =>
  tbs(
    signer,
    subject,
    nameDer([{ oid: OID.commonName, text: `OCSP responder ${subject.serial.slice(0, 16)}` }]),
    [
      NOT_A_CA,
      DIGITAL_SIGNATURE,
      OCSP_SIGNING,
      NO_CHECK,
      authorityKeyIdDer(signer.ski),
      subjectKeyIdDer(subject.spkiDer),
    ],
  )
