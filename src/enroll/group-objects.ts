/**
 * Enrolment groups between the wire and the nouns: what a schema cannot say is refused here, by the name of its field. Not stored here:
 * apply-access.ts does that, and holds one group against the others.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import { DAY, SECOND } from '#fleet/clock.ts'
import { formatDuration } from '#fleet/duration.ts'
import { GROUP_DEFAULTS, type BootstrapTrust, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { tagsProblem } from '#fleet/tags.ts'
import { CERTIFICATE_TTL_RANGE } from '#policy/enrollment.ts'
import { certificateVariables, readIdTemplate } from '#policy/id-template.ts'
import { fillProfile, unknownVariable } from '#policy/profile.ts'
import type { GroupBody, StoredGroup } from '#wire/groups.ts'
import { readBootstrapPem, readCaPem } from './anchor-pem.ts'
import { readBootstrapTrust } from '#trust/bootstrap-trust.ts'
import { bad, durationOf, once, type Range } from './reading.ts'

type Context = {
  readonly now: number
  /** is there a secret that calls of webhooks are signed with? */
  readonly webhooksReady: boolean
}

const CONFIRM_RANGE: Range = { min: SECOND, max: 365 * DAY }
const GRACE_RANGE: Range = { min: 0, max: 3_650 * DAY }

const orElse = (where: string, text: string | undefined, fallback: number, range: Range): number =>
  text === undefined ? fallback : durationOf(where, text, range)

const lives = (body: GroupBody): Pick<EnrollmentGroup, 'certificateTtl' | 'maxCertificateTtl'> => {
  const { certificateTtl: usual, maxCertificateTtl: most } = GROUP_DEFAULTS
  const maxCertificateTtl = orElse('max_cert_ttl', body.max_cert_ttl, most, CERTIFICATE_TTL_RANGE)
  // who lowers the most that there may be means it for those who ask for nothing, too
  const fallback = Math.min(usual, maxCertificateTtl)
  const certificateTtl = orElse('cert_ttl', body.cert_ttl, fallback, CERTIFICATE_TTL_RANGE)
  if (certificateTtl > maxCertificateTtl)
    throw bad('cert_ttl', `is more than max_cert_ttl, ${formatDuration(maxCertificateTtl)}`)
  return { certificateTtl, maxCertificateTtl }
}

const windowOf = (body: GroupBody): EnrollmentGroup['renewalWindow'] => {
  const window = body.renewal_window ?? GROUP_DEFAULTS.renewalWindow
  if (!(window.from > 0 && window.from <= window.to))
    throw bad(
      'renewal_window',
      'from and to are shares of the life above 0 and up to 1, and from is not after to',
    )
  return window
}

const checkTags = (body: GroupBody): EnrollmentGroup['tags'] => {
  const { tags = GROUP_DEFAULTS.tags } = body
  const problem = tagsProblem(tags)
  if (problem !== undefined) throw bad('tags', problem)
  return tags
}

const checkTemplate = (body: GroupBody): string | undefined => {
  const template = body.id_template ?? undefined
  if (template === undefined) return undefined
  const read = readIdTemplate(template)
  if (!read.ok) throw bad('id_template', read.problem)
  const [name] = certificateVariables(template)
  if (name !== undefined && (body.bootstrap ?? undefined) === undefined)
    throw bad(
      'id_template',
      `\${${name}} is what a bootstrap certificate says, and the group has no bootstrap`,
    )
  return template
}

/** With the shortest id: what is wrong then is wrong for every device. */
const SOME_DEVICE = 'x' as DeviceId

const profileOf = (body: GroupBody): EnrollmentGroup['profile'] => {
  const { organization, organizational_unit, dns_names = [] } = body.profile ?? {}
  const profile = {
    organization: organization ?? undefined,
    organizationalUnit: organizational_unit ?? undefined,
    dnsNames: once('profile.dns_names', dns_names),
  }
  if (unknownVariable(profile) !== undefined)
    throw bad('profile', 'knows the variable ${device.id} and no other')
  const filled = fillProfile(profile, SOME_DEVICE)
  if (!filled.ok) throw bad(`profile.${filled.field}`, filled.problem)
  return profile
}

const bootstrapOf = (body: GroupBody, { now }: Context): BootstrapTrust | undefined => {
  const wanted = body.credentials?.includes('bootstrap') === true
  if (body.bootstrap === undefined || body.bootstrap === null) {
    if (wanted) throw bad('bootstrap', 'the credential bootstrap needs bootstrap.anchors')
    return undefined
  }
  const { anchors, crls, allow_no_eku = false, certificates_per_credential = 1 } = body.bootstrap
  readBootstrapPem(anchors, now)
  const trust = {
    anchors,
    crls: crls ?? undefined,
    allowNoEku: allow_no_eku,
    certificatesPerCredential: certificates_per_credential,
  }
  readBootstrapTrust(trust)
  return trust
}

const webhookOf = (body: GroupBody, { now, webhooksReady }: Context): EnrollmentGroup['webhook'] => {
  if (body.webhook === undefined || body.webhook === null) return undefined
  const { url: text, ca } = body.webhook
  const url = URL.parse(text)
  if (url?.protocol !== 'https:') throw bad('webhook.url', 'must be an https:// URL')
  if (url.username !== '' || url.password !== '') throw bad('webhook.url', 'must not hold a user or password')
  if (text.includes('#')) throw bad('webhook.url', 'must have no fragment')
  if (typeof ca === 'string') readCaPem(ca, now, 'webhook.ca')
  if (!webhooksReady)
    throw new FleetError(
      'unsupported',
      'webhook: its calls are signed, and the setting enroll.webhook_secret_file of this desk is not set',
    )
  return { url: url.href, ca: ca ?? undefined }
}

/** @throws FleetError `bad_request`, with the field; `unsupported`: a webhook without a secret to sign its calls */
export const readGroup = (name: string, body: GroupBody, context: Context): EnrollmentGroup => {
  const usual = GROUP_DEFAULTS
  const { quotas = {} } = body
  return {
    name,
    enabled: body.enabled ?? usual.enabled,
    credentials: once('credentials', body.credentials ?? usual.credentials),
    approval: body.approval ?? usual.approval,
    registeredOnly: body.registered_only ?? usual.registeredOnly,
    idTemplate: checkTemplate(body),
    tags: checkTags(body),
    profile: profileOf(body),
    keyKinds: once('key_kinds', body.key_kinds ?? usual.keyKinds),
    ...lives(body),
    renewalWindow: windowOf(body),
    confirmWithin: orElse('confirm_within', body.confirm_within, usual.confirmWithin, CONFIRM_RANGE),
    renewalsPerDay: body.renewals_per_day ?? usual.renewalsPerDay,
    expiredGrace: orElse('expired_grace', body.expired_grace, usual.expiredGrace, GRACE_RANGE),
    expiredRenewals: body.expired_renewals ?? usual.expiredRenewals,
    onClone: body.on_clone ?? usual.onClone,
    estLabels: once('est_labels', body.est_labels ?? usual.estLabels),
    quotas: {
      devices: quotas.devices ?? undefined,
      certificatesPerHour: quotas.certificates_per_hour ?? undefined,
      openRequests: quotas.open_requests ?? usual.quotas.openRequests,
    },
    bootstrap: bootstrapOf(body, context),
    webhook: webhookOf(body, context),
  }
}

/** Nothing left out, so that it can be read, changed in one place, and written back. */
export const groupToWire = (group: EnrollmentGroup): StoredGroup => {
  const { profile, quotas, bootstrap, webhook } = group
  return {
    name: group.name,
    enabled: group.enabled,
    credentials: [...group.credentials],
    approval: group.approval,
    registered_only: group.registeredOnly,
    id_template: group.idTemplate ?? null,
    tags: { ...group.tags },
    profile: {
      organization: profile.organization ?? null,
      organizational_unit: profile.organizationalUnit ?? null,
      dns_names: [...profile.dnsNames],
    },
    key_kinds: [...group.keyKinds],
    cert_ttl: formatDuration(group.certificateTtl),
    max_cert_ttl: formatDuration(group.maxCertificateTtl),
    renewal_window: { ...group.renewalWindow },
    confirm_within: formatDuration(group.confirmWithin),
    renewals_per_day: group.renewalsPerDay,
    expired_grace: formatDuration(group.expiredGrace),
    expired_renewals: group.expiredRenewals,
    on_clone: group.onClone,
    est_labels: [...group.estLabels],
    quotas: {
      devices: quotas.devices ?? null,
      certificates_per_hour: quotas.certificatesPerHour ?? null,
      open_requests: quotas.openRequests,
    },
    bootstrap:
      bootstrap === undefined
        ? null
        : {
            anchors: bootstrap.anchors,
            crls: bootstrap.crls ?? null,
            allow_no_eku: bootstrap.allowNoEku,
            certificates_per_credential: bootstrap.certificatesPerCredential,
          },
    webhook: webhook === undefined ? null : { url: webhook.url, ca: webhook.ca ?? null },
  }
}
