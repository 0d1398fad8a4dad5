import { describe, expect, it } from 'vitest'
import { groupToWire, readGroup } from '#enroll/group-objects.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import type { GroupBody } from '#wire/groups.ts'
import { makeCa, makePki, type CaOptions } from '../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now: NOW })
const factory = makeCa({ name: 'Factory', now: NOW })
const below = makeCa({ name: 'Line', now: NOW, by: factory, pathLength: 0 })
const past = makeCa({ name: 'Past', now: NOW, notAfter: NOW - DAY })
const leaf = pki.device()
const odd = (name: string, o: Partial<CaOptions>) => makeCa({ name, now: NOW, ...o })
const forServers = odd('Servers', { extendedKeyUsage: [OID.serverAuth] })
const forAny = odd('Any', { extendedKeyUsage: [OID.serverAuth, OID.anyExtendedKeyUsage] })
const constrained = (critical: boolean) =>
  odd('Narrow', { extraExtensions: [extensionDer(OID.nameConstraints, critical, tlv(TAG.sequence))] })
const lonely = odd('Lonely', { pathLength: 0 })
const tooDeep = odd('Deep', { by: lonely })

const context = { now: NOW, webhooksReady: true }
const read = (body: GroupBody, over = {}) => readGroup('pumps', body, { ...context, ...over })
const refusal = (code: string, detail: RegExp) =>
  expect.objectContaining({ code, detail: expect.stringMatching(detail) as string }) as Error

describe('readGroup', () => {
  it('takes nothing for the defaults', () => {
    expect(read({})).toEqual({ ...GROUP_DEFAULTS, name: 'pumps' })
  })

  it('takes all of it, and gives it back as it came', () => {
    const body: GroupBody = {
      enabled: false,
      credentials: ['token', 'bootstrap', 'allow_list', 'approval'],
      approval: true,
      registered_only: true,
      id_template: 'f-${cert.serial_number}',
      tags: { site: 'a' },
      profile: {
        organization: 'Acme',
        organizational_unit: 'Unit ${device.id}',
        dns_names: ['${device.id}.devices.example'],
      },
      key_kinds: ['P-256', 'Ed25519'],
      cert_ttl: '7d',
      max_cert_ttl: '30d',
      renewal_window: { from: 0.5, to: 0.75 },
      confirm_within: '1h30m',
      renewals_per_day: 2,
      expired_grace: '0s',
      expired_renewals: 0,
      on_clone: 'suspend',
      est_labels: ['pumps', 'Pumps.2'],
      quotas: { devices: 100, certificates_per_hour: 10, open_requests: 5 },
      bootstrap: { anchors: below.pem, crls: null, allow_no_eku: true, certificates_per_credential: 50 },
      webhook: { url: 'https://hook.example/enrol?a=1', ca: factory.pem },
    }
    const group = read(body)
    expect(group).toMatchObject({ certificateTtl: 7 * DAY, confirmWithin: 1.5 * HOUR, expiredGrace: 0 })
    expect(groupToWire(group)).toEqual({ name: 'pumps', ...body })
    const { name: _, ...again } = groupToWire(group)
    expect(read(again)).toEqual(group)
  })

  it('takes an anchor for any use, and one whose root allows it', () => {
    for (const anchors of [forAny.pem, tooDeep.pem, below.pem + factory.pem])
      expect(read({ bootstrap: { anchors } }).bootstrap?.anchors).toBe(anchors)
  })

  it('lowers the usual life with the longest one', () => {
    expect(read({ max_cert_ttl: '1d' })).toMatchObject({ certificateTtl: DAY, maxCertificateTtl: DAY })
  })

  it.each<[string, GroupBody, RegExp]>([
    ['no duration', { cert_ttl: 'soon' }, /^cert_ttl: write/],
    ['no life', { cert_ttl: '0s' }, /^cert_ttl: must be from 1s to 3650d/],
    ['too long a life', { max_cert_ttl: '4000d' }, /^max_cert_ttl: must/],
    [
      'more than the longest',
      { cert_ttl: '2d', max_cert_ttl: '1d' },
      /^cert_ttl: is more than max_cert_ttl, 1d/,
    ],
    ['no time to confirm', { confirm_within: '0s' }, /^confirm_within/],
    ['a grace without end', { expired_grace: '9999d' }, /^expired_grace/],
    ['a window that ends before it begins', { renewal_window: { from: 0.9, to: 0.8 } }, /^renewal_window/],
    ['a window from the first moment', { renewal_window: { from: 0, to: 0.8 } }, /^renewal_window/],
    ['a credential twice', { credentials: ['token', 'token'] }, /^credentials: token is there twice/],
    ['a key kind twice', { key_kinds: ['RSA', 'RSA'] }, /^key_kinds/],
    ['a label twice', { est_labels: ['a', 'a'] }, /^est_labels: a is there twice/],
    ['a tag that is called like nothing', { tags: { 'a b': '1' } }, /^tags/],
    ['a template of nothing', { id_template: 'pump' }, /^id_template/],
    ['a template of what is not known', { id_template: 'a-${device.id}' }, /^id_template: .*device\.id/],
    [
      'a template of a certificate that nobody shows',
      { id_template: '${cert.cn}' },
      /^id_template: .*no bootstrap/,
    ],
    ['another variable', { profile: { organization: '${csr.cn}' } }, /^profile: .*device\.id/],
    ['too long an organization', { profile: { organization: 'x'.repeat(65) } }, /^profile\.organization/],
    ['no DNS name', { profile: { dns_names: ['*.example'] } }, /^profile\.dns_names/],
    [
      'a DNS name twice',
      { profile: { dns_names: ['a.b', 'a.b'] } },
      /^profile\.dns_names: a\.b is there twice/,
    ],
    ['bootstrap without anchors', { credentials: ['bootstrap'] }, /^bootstrap: .*bootstrap\.anchors/],
    ['anchors that are none', { bootstrap: { anchors: 'hello' } }, /^bootstrap\.anchors/],
    ['a device for an anchor', { bootstrap: { anchors: leaf.certPem } }, /^bootstrap\.anchors: .*not a CA/],
    ['an anchor that has expired', { bootstrap: { anchors: past.pem } }, /^bootstrap\.anchors: .*expired/],
    [
      'a private key among them',
      { bootstrap: { anchors: factory.pem + factory.keyPem } },
      /^bootstrap\.anchors: .*private key/,
    ],
    ['the same twice', { bootstrap: { anchors: factory.pem + factory.pem } }, /^bootstrap\.anchors: .*same/],
    [
      'an anchor for servers',
      { bootstrap: { anchors: factory.pem + forServers.pem } },
      /^bootstrap\.anchors: certificate 2 \(Servers, serial [0-9a-f]+\) may not issue client certificates/,
    ],
    [
      'an anchor for some names',
      { bootstrap: { anchors: constrained(false).pem } },
      /^bootstrap\.anchors: certificate 1 \(Narrow, .* has name constraints/,
    ],
    [
      'an anchor for some names, critically',
      { bootstrap: { anchors: constrained(true).pem } },
      /^bootstrap\.anchors: certificate 1 \(Narrow, .* has name constraints/,
    ],
    [
      'an anchor under one that allows none',
      { bootstrap: { anchors: tooDeep.pem + lonely.pem } },
      /^bootstrap\.anchors: certificate 1 \(Deep, .* would not be trusted: "Lonely" allows 0 certificates below it, and there are 1$/,
    ],
    ['no revocation list', { bootstrap: { anchors: factory.pem, crls: 'hello' } }, /^bootstrap\.crls/],
    ['plain http', { webhook: { url: 'http://hook.example/' } }, /^webhook\.url: .*https/],
    ['no URL', { webhook: { url: 'hook' } }, /^webhook\.url/],
    ['a file', { webhook: { url: 'file:///etc/passwd' } }, /^webhook\.url/],
    ['a password', { webhook: { url: 'https://a:b@hook.example/' } }, /^webhook\.url: .*password/],
    ['a fragment', { webhook: { url: 'https://hook.example/#a' } }, /^webhook\.url: .*fragment/],
    ['no CA', { webhook: { url: 'https://hook.example/', ca: leaf.certPem } }, /^webhook\.ca/],
  ])('refuses: %s', (_, body, detail) => {
    expect(() => read(body)).toThrow(refusal('bad_request', detail))
  })

  it('refuses a webhook that nobody could tell from another caller, and names the setting', () => {
    const body = { webhook: { url: 'https://hook.example/' } }
    expect(() => read(body, { webhooksReady: false })).toThrow(
      refusal('unsupported', /enroll\.webhook_secret_file/),
    )
  })
})
