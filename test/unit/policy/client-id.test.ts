import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CLIENT_ID_RULES, type ClientIdRule } from '#fleet/access.ts'
import { isDeviceId } from '#fleet/device-id.ts'
import { clientIdFor } from '#policy/client-id.ts'

const NAME = 'lamp-1'
const FOREIGN = 'partner/truck-1'
/** first 22 characters of base64url(SHA-256('no/good suffix')) */
const HASHED = 'R0LF3N5bD6I5vlUGlP4WRD'

describe('of a device', () => {
  test.each<[ClientIdRule, connections: number, asked: string, id: string | undefined]>([
    ['equal', 1, NAME, NAME],
    ['equal', 1, '', NAME],
    ['equal', 1, 'lamp-2', undefined],
    ['equal', 1, 'LAMP-1', undefined],
    ['equal', 1, 'lamp-1@a', undefined],
    ['equal', 5, 'lamp-1@a', undefined],
    ['prefix', 5, NAME, NAME],
    ['prefix', 5, '', NAME],
    ['prefix', 5, 'lamp-1@a', 'lamp-1@a'],
    ['prefix', 5, `lamp-1@${'x'.repeat(64)}`, `lamp-1@${'x'.repeat(64)}`],
    ['prefix', 5, `lamp-1@${'x'.repeat(65)}`, undefined],
    ['prefix', 1, 'lamp-1@a', 'lamp-1@a'],
    ['prefix', 5, 'lamp-1@', undefined],
    ['prefix', 5, 'lamp-1@a@b', undefined],
    ['prefix', 5, 'lamp-1@a/b', undefined],
    ['prefix', 5, 'lamp-1@a\u0000', undefined],
    ['prefix', 5, 'lamp-1@a\n', undefined],
    ['prefix', 5, 'lamp-1@ä', undefined],
    ['prefix', 5, 'lamp-1a', undefined],
    ['prefix', 5, 'lamp-10@a', undefined],
    ['prefix', 5, 'lamp-2@a', undefined],
    ['prefix', 5, 'a', undefined],
    ['forced', 1, NAME, NAME],
    ['forced', 1, '', NAME],
    ['forced', 1, 'lamp-2', NAME],
    ['forced', 1, 'lamp-1@a', NAME],
    ['forced', 1, '\u0000', NAME],
    ['forced', 5, NAME, NAME],
    ['forced', 5, '', NAME],
    ['forced', 5, 'lamp-1@a', 'lamp-1@a'],
    ['forced', 5, 'a', 'lamp-1@a'],
    // another device's name is a suffix like any other: it is under this one's
    ['forced', 5, 'lamp-2', 'lamp-1@lamp-2'],
    ['forced', 5, 'no/good suffix', `lamp-1@${HASHED}`],
    ['forced', 5, 'lamp-2@a', expect.stringMatching(/^lamp-1@[\w-]{22}$/) as unknown as string],
    ['forced', 5, 'x'.repeat(65), expect.stringMatching(/^lamp-1@[\w-]{22}$/) as unknown as string],
  ])('%s, %i at a time: %j → %j', (rule, connections, asked, id) => {
    expect(clientIdFor(rule, connections, NAME, asked)).toEqual(
      id === undefined ? { kind: 'mismatch' } : { kind: 'ok', id, assigned: asked === '' },
    )
  })
})

describe('of a foreign certificate there is one', () => {
  test.each<[ClientIdRule, name: string, asked: string, id: string | undefined]>([
    ['equal', FOREIGN, FOREIGN, FOREIGN],
    ['equal', FOREIGN, '', FOREIGN],
    ['equal', FOREIGN, 'truck-1', undefined],
    ['prefix', FOREIGN, FOREIGN, FOREIGN],
    ['prefix', FOREIGN, `${FOREIGN}@a`, undefined],
    ['prefix', 'partner/lamp-1', 'lamp-1@a', undefined],
    ['forced', FOREIGN, `${FOREIGN}@a`, FOREIGN],
    ['forced', FOREIGN, 'lamp-1', FOREIGN],
    // its CA may call it anything
    ['forced', 'partner/lamp-1@a', 'lamp-1', 'partner/lamp-1@a'],
  ])('%s %s: %j → %j', (rule, name, asked, id) => {
    expect(clientIdFor(rule, 5, name, asked)).toEqual(
      id === undefined ? { kind: 'mismatch' } : { kind: 'ok', id, assigned: asked === '' },
    )
  })
})

const DEVICE = fc
  .stringMatching(/^[A-Za-z0-9][A-Za-z0-9._~:-]{0,63}$/)
  .filter((text): boolean => isDeviceId(text))
const PARTNER = fc
  .tuple(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ unit: 'binary' }))
  .map(([anchor, name]) => `${anchor}/${name}`)
const NAMES = fc.oneof(DEVICE, PARTNER)
const ASKED = fc.oneof(
  fc.string({ unit: 'binary' }),
  DEVICE,
  fc.tuple(NAMES, fc.string()).map(([name, more]) => `${name}@${more}`),
)

test('no two identities ever have the same one, whatever they ask for', () => {
  const rules = fc.constantFrom(...CLIENT_ID_RULES)
  fc.assert(
    fc.property(
      fc.tuple(rules, fc.constantFrom(1, 5), NAMES, ASKED),
      fc.tuple(rules, fc.constantFrom(1, 5), NAMES, ASKED),
      (a, b) => {
        const [one, other] = [clientIdFor(...a), clientIdFor(...b)]
        if (a[2] === b[2] || one.kind === 'mismatch' || other.kind === 'mismatch') return
        expect(one.id).not.toBe(other.id)
      },
    ),
  )
})

test('asked for again it is itself', () => {
  fc.assert(
    fc.property(fc.constantFrom(...CLIENT_ID_RULES), fc.constantFrom(1, 5), NAMES, ASKED, (...asked) => {
      const [rule, connections, name] = asked
      const first = clientIdFor(...asked)
      if (first.kind === 'mismatch') return
      expect(clientIdFor(rule, connections, name, first.id)).toEqual({ ...first, assigned: false })
    }),
  )
})
