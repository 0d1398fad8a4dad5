import { describe, expect, it } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { BACKDATE, certificateValidity, judgeClock, judgeToken, nameDevice } from '#policy/enrollment.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const id = (text: string) => text as DeviceId

describe('judgeToken', () => {
  it.each([
    ['usable', { expiresAt: NOW + 1, revokedAt: undefined }, undefined],
    ['at its last moment', { expiresAt: NOW, revokedAt: undefined }, 'token_expired'],
    ['over', { expiresAt: NOW - 1, revokedAt: undefined }, 'token_expired'],
    ['revoked', { expiresAt: NOW + 1, revokedAt: NOW - 5 }, 'token_revoked'],
    ['revoked and over', { expiresAt: NOW - 1, revokedAt: NOW - 5 }, 'token_revoked'],
    ['revoked by a clock that was ahead', { expiresAt: NOW + 1, revokedAt: NOW + 5 }, 'token_revoked'],
  ])('%s', (_, token, verdict) => {
    expect(judgeToken(token, NOW)).toBe(verdict)
  })
})

describe('nameDevice', () => {
  it.each([
    ['the token alone', id('a'), undefined, undefined, 'a'],
    ['the request alone', undefined, 'a', undefined, 'a'],
    ["the CSR's CN alone", undefined, undefined, 'a', 'a'],
    ['all three agree', id('a'), 'a', 'a', 'a'],
    ['an empty user name and an empty CN are none', id('a'), '', '', 'a'],
    ['64 characters', undefined, 'x'.repeat(64), undefined, 'x'.repeat(64)],
    ['every character that is allowed', undefined, 'Aa0._~:-z', undefined, 'Aa0._~:-z'],
  ])('%s', (_, bound, asked, commonName, deviceId) => {
    expect(nameDevice({ bound, asked, commonName })).toEqual({ ok: true, deviceId })
  })

  it.each([
    ['nobody names it', undefined, undefined, undefined, 'device_id_invalid'],
    ['only empty names', undefined, '', '', 'device_id_invalid'],
    ['token against request', id('a'), 'b', undefined, 'device_id_mismatch'],
    ['token against CN', id('a'), undefined, 'b', 'device_id_mismatch'],
    ['request against CN', undefined, 'a', 'b', 'device_id_mismatch'],
    ['token and request against CN', id('a'), 'a', 'b', 'device_id_mismatch'],
    ['only the case differs', id('a'), 'A', undefined, 'device_id_mismatch'],
    ['65 characters', undefined, 'x'.repeat(65), undefined, 'device_id_invalid'],
    ['a topic separator', undefined, 'a/b', undefined, 'device_id_invalid'],
    ['a wildcard', undefined, undefined, '#', 'device_id_invalid'],
    ['begins with a dot', undefined, '.a', undefined, 'device_id_invalid'],
    ['a line break at the end', undefined, 'a\n', undefined, 'device_id_invalid'],
    ['a NUL', undefined, 'a\0', undefined, 'device_id_invalid'],
    ['a look-alike', undefined, 'аlpha', undefined, 'device_id_invalid'],
    ['a combining mark', undefined, 'é', undefined, 'device_id_invalid'],
  ])('refuses: %s', (_, bound, asked, commonName, reason) => {
    expect(nameDevice({ bound, asked, commonName })).toMatchObject({ ok: false, reason })
  })

  it('never repeats what a client wrote', () => {
    const named = nameDevice({ bound: id('a'), asked: '<script>', commonName: undefined })
    expect(JSON.stringify(named)).not.toContain('script')
  })
})

describe('certificateValidity', () => {
  const ttl = 60_000
  it.each([
    ['whole seconds', NOW, ttl, NOW + 1e9, { notBefore: NOW - BACKDATE, notAfter: NOW + ttl }],
    ['rounded down, never up', NOW + 999, ttl, NOW + 1e9, { notBefore: NOW - BACKDATE, notAfter: NOW + ttl }],
    ['capped by the issuer', NOW, ttl, NOW + 30_000, { notBefore: NOW - BACKDATE, notAfter: NOW + 30_000 }],
    ['to its very end', NOW, ttl, NOW + ttl, { notBefore: NOW - BACKDATE, notAfter: NOW + ttl }],
    ['an issuer that ends now', NOW, ttl, NOW, undefined],
    ['an issuer that has ended', NOW, ttl, NOW - 1, undefined],
  ])('%s', (_, now, life, issuerNotAfter, validity) => {
    expect(certificateValidity({ now, ttl: life, issuerNotAfter })).toEqual(validity)
  })
})

describe('judgeClock', () => {
  it.each([
    ['ahead of the records', NOW, NOW - 1, undefined],
    ['behind by the backdate', NOW, NOW + BACKDATE, undefined],
    ['behind by more', NOW, NOW + BACKDATE + 1, 'clock_behind'],
    ['an empty registry', NOW, 0, undefined],
    ['two days behind', NOW - 2 * 86_400_000, NOW, 'clock_behind'],
  ])('%s', (_, now, newest, verdict) => {
    expect(judgeClock(now, newest)).toBe(verdict)
  })
})
