/**
 * What a group's certificates say beside device id, key and dates: its templates, filled in for one device. Only `${device.id}` is known.
 * Not how it is encoded: that is #pki/profile.ts.
 */

import type { SubjectExtras } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { CertificateProfile } from '#fleet/enrollment-group.ts'

const DEVICE_ID = '${device.id}'

/** RFC 5280 Appendix A.1: ub-organization-name and ub-organizational-unit-name. Characters. */
const MOST_CHARACTERS = 64
/** What two readers could see differently, or not at all. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u

const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/

const textProblem = (text: string): string | undefined => {
  if (text.trim() === '' || text !== text.trim()) return 'must not be empty, nor begin or end with a space'
  if (text.length > MOST_CHARACTERS) return `has more than ${MOST_CHARACTERS} characters`
  return UNSEEN.test(text) ? 'holds a control character or one that cannot be seen' : undefined
}

/** RFC 5280 §4.2.1.6: the preferred name syntax; no wildcard, which would name other devices too; no address. */
const dnsProblem = (name: string): string | undefined => {
  const labels = name.split('.')
  const sound = name.length <= 253 && labels.every((label) => LABEL.test(label))
  return sound && !/^\d+$/.test(labels.at(-1) as string) ? undefined : 'is not a DNS name'
}

export type FilledProfile =
  | { readonly ok: true; readonly extras: SubjectExtras | undefined }
  /** `field`: as on the wire */
  | { readonly ok: false; readonly field: string; readonly problem: string }

/** @returns `extras` undefined: nothing. `problem`: what is wrong for this id; another one may do */
export const fillProfile = (profile: CertificateProfile, deviceId: DeviceId): FilledProfile => {
  const { organization, organizationalUnit, dnsNames } = profile
  if (organization === undefined && organizationalUnit === undefined && dnsNames.length === 0)
    return { ok: true, extras: undefined }
  const fill = (template: string): string => template.replaceAll(DEVICE_ID, deviceId)
  const filled = {
    ...(organization === undefined ? {} : { organization: fill(organization) }),
    ...(organizationalUnit === undefined ? {} : { organizationalUnit: fill(organizationalUnit) }),
    ...(dnsNames.length === 0 ? {} : { dnsNames: dnsNames.map(fill) }),
  }
  const checks: readonly (readonly [field: string, problem: string | undefined])[] = [
    ['organization', filled.organization === undefined ? undefined : textProblem(filled.organization)],
    [
      'organizational_unit',
      filled.organizationalUnit === undefined ? undefined : textProblem(filled.organizationalUnit),
    ],
    ...(filled.dnsNames ?? []).map((name) => ['dns_names', dnsProblem(name)] as const),
  ]
  const bad = checks.find(([, problem]) => problem !== undefined)
  if (bad?.[1] !== undefined) return { ok: false, field: bad[0], problem: bad[1] }
  return { ok: true, extras: filled }
}

/** Templates of a profile that name what cannot be filled in. @returns the first of them */
export const unknownVariable = ({
  organization = '',
  organizationalUnit = '',
  dnsNames,
}: CertificateProfile): string | undefined =>
  [organization, organizationalUnit, ...dnsNames]
    .map((template) => template.replaceAll(DEVICE_ID, ''))
    .find((rest) => rest.includes('${'))
