import { X509Certificate } from 'node:crypto'
import { expect, test, vi } from 'vitest'
import { GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { anchorsToName, trustOf } from '#trust/bootstrap-trust.ts'
import { makeCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 12)

test('CAs are named in a handshake without a signature check; who judges by them makes those once', () => {
  const root = makeCa({ name: 'Root', now, pathLength: 4 })
  const middle = makeCa({ name: 'Middle', now, by: root })
  const bootstrap = {
    anchors: middle.pem + root.pem,
    crls: undefined,
    allowNoEku: false,
    certificatesPerCredential: 1,
  }
  const group: EnrollmentGroup = { ...GROUP_DEFAULTS, name: 'pumps', credentials: ['bootstrap'], bootstrap }
  const verify = vi.spyOn(X509Certificate.prototype, 'verify')
  try {
    const named = anchorsToName(new Map([['pumps', group]]))
    expect(named.map(({ commonName }) => commonName)).toEqual(['Middle', 'Root'])
    expect(verify).not.toHaveBeenCalled()
    const { roots } = trustOf(bootstrap)
    expect(roots.map(({ pathLength }) => pathLength)).toEqual([3, 4])
    const { length } = verify.mock.calls
    expect(length).toBeGreaterThan(0)
    expect(trustOf(bootstrap).roots).toBe(roots)
    expect(verify.mock.calls.length).toBe(length)
  } finally {
    verify.mockRestore()
  }
})
