import { describe, expect, it } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { certificateVariables, formOf, readIdTemplate } from '#policy/id-template.ts'

const CN = '${csr.cn}'
const CERT = '${cert.cn}'
const SERIAL = '${cert.serial_number}'

describe('readIdTemplate', () => {
  it.each([
    CN,
    `pump-${CN}`,
    `${CN}.site-1`,
    `${CERT}-${CN}`,
    SERIAL,
    `a:${SERIAL}~${CERT}_${CN}`,
    `${'x'.repeat(63)}${CN}`,
  ])('takes %s', (template) => {
    expect(readIdTemplate(template)).toMatchObject({ ok: true })
  })

  it.each([
    ['no variable', 'pump', /same id/],
    ['nothing', '', /same id/],
    ['an unknown variable', 'pump-${device.id}', /no variable \$\{device\.id\}/],
    ['one of an object', '${constructor}', /no variable/],
    ['an empty one', 'a${}', /no variable/],
    ['one that does not end', 'pump-${csr.cn', /same id/],
    ['a brace left over', `${CN}\${`, /may hold/],
    ['one in another', '${${csr.cn}}', /may hold/],
    ['twice the same', `${CN}-${CN}`, /twice/],
    ['two side by side', `${CERT}${CN}`, /text between/],
    ['a topic separator', `a/${CN}`, /may hold/],
    ['a wildcard', `#${CN}`, /may hold/],
    ['a line break', `a\n${CN}`, /may hold/],
    ['a first character that no id has', `-${CN}`, /no device id/],
    ['too long for any id', `${'x'.repeat(64)}${CN}`, /no device id/],
  ])('refuses: %s', (_, template, problem) => {
    const read = readIdTemplate(template)
    expect(read).toMatchObject({ ok: false })
    expect(read.ok ? '' : read.problem).toMatch(problem)
  })
})

describe('certificateVariables', () => {
  it.each([
    [CN, []],
    [`${CERT}-${CN}`, ['cert.cn']],
    [`${SERIAL}.${CERT}`, ['cert.cn', 'cert.serial_number']],
  ])('%s', (template, names) => {
    expect(certificateVariables(template)).toEqual(names)
  })
})

describe('formOf', () => {
  const cert = { 'cert.cn': 'factory-1', 'cert.serial_number': 'SN.42' }

  it.each([
    ['the whole id from a certificate', SERIAL, cert, 'SN.42'],
    ['with text', `dev-${SERIAL}`, cert, 'dev-SN.42'],
    ['of two variables', `${CERT}:${SERIAL}`, cert, 'factory-1:SN.42'],
    // the last one may say what it likes
    [
      'with the text between in the last',
      `${CERT}:${SERIAL}`,
      { ...cert, 'cert.serial_number': 'a:b' },
      'factory-1:a:b',
    ],
    ['with text after the last', `${SERIAL}.x`, cert, 'SN.42.x'],
    ['with a part of what follows', `${CERT}-:${SERIAL}`, cert, 'factory-1-:SN.42'],
  ])('makes: %s', (_, template, variables, deviceId) => {
    expect(formOf(template, variables)).toEqual({ kind: 'made', deviceId })
  })

  it.each([
    ['no such variable', SERIAL, { 'cert.cn': 'a' }],
    ['an empty one', CERT, { 'cert.cn': '' }],
    ['one with a slash', CERT, { 'cert.cn': 'a/b' }],
    ['one with a space', CERT, { 'cert.cn': 'Acme Pump' }],
    ['one that would be a variable itself', CERT, { 'cert.cn': CN }],
    ['a look-alike', CERT, { 'cert.cn': 'а' }],
    ['beginning as no id does', CERT, { 'cert.cn': '-a' }],
    [
      'too long together',
      `${CERT}-${SERIAL}`,
      { 'cert.cn': 'a'.repeat(40), 'cert.serial_number': 'b'.repeat(40) },
    ],
    ['missing beside the CSR’s', `${CERT}-${CN}`, {}],
    ['one with the text that ends it', `${CERT}-${SERIAL}`, cert],
    ['one that ends as that begins', `${CERT}--${SERIAL}`, { 'cert.cn': 'a-', 'cert.serial_number': 'b' }],
    ['one with it, beside the CSR’s', `${CERT}-${CN}`, cert],
  ])('gives none: %s', (_, template, variables) => {
    expect(formOf(template, variables)).toMatchObject({ kind: 'none' })
  })

  it.each([
    // the device chooses its part, whatever it shows
    [`pump-${CN}`, undefined, 'pump-7', true],
    [`pump-${CN}`, undefined, 'pump-', false],
    [`pump-${CN}`, undefined, 'Pump-7', false],
    [`pump-${CN}`, undefined, 'xpump-7', false],
    [`pump-${CN}`, cert, 'pump-7', true],
    [`${CN}.site`, undefined, 'a.site', true],
    [`${CN}.site`, undefined, 'a-site', false],
    [`${CN}.site`, undefined, 'a.site.more', false],
    // a certificate is held to its own part
    [`${CERT}:${CN}`, cert, 'factory-1:7', true],
    [`${CERT}:${CN}`, cert, 'factory-1:7:8', true],
    [`${CERT}:${CN}`, cert, 'factory-2:7', false],
    [`${CERT}:${CN}`, cert, 'factory-1', false],
    [`${CERT}:${CN}`, { 'cert.cn': '.+' }, 'factory-2:7', false],
    // and the device does not reach into it
    [`${CN}.${SERIAL}`, { 'cert.serial_number': 'B' }, 'x.B', true],
    [`${CN}.${SERIAL}`, { 'cert.serial_number': 'B' }, 'x.A.B', false],
    [`${CN}.${SERIAL}`, { 'cert.serial_number': 'A.B' }, 'x.A.B', true],
    [`p-${CN}-.${SERIAL}`, { 'cert.serial_number': 'B' }, 'p-x--.B', true],
    [`p-${CN}--${SERIAL}`, { 'cert.serial_number': 'B' }, 'p-x---B', false],
    // no certificate was shown: any will do
    [`${CERT}-${CN}`, undefined, 'factory-2-7', true],
    [SERIAL, undefined, 'anything', true],
  ])('%s with %j allows %s: %s', (template, variables, id, allowed) => {
    const form = formOf(template, variables)
    expect(form.kind === 'form' ? form.allows(id as DeviceId) : form.kind).toBe(
      (variables as Record<string, string> | undefined)?.['cert.cn'] === '.+' ? 'none' : allowed,
    )
  })
})

it('gives no id to two certificates, whatever they say', () => {
  const values = ['a', 'b', '-', 'a-', '-a', 'a-b', 'b-a', 'a--b', '--a', 'a--', 'a-b-c', 'a:b', 'a.b']
  for (const template of [
    `${CERT}-${SERIAL}`,
    `x${CERT}--${SERIAL}.`,
    `x${SERIAL}-:${CERT}-`,
    `x${CERT}---${SERIAL}`,
  ]) {
    const made = new Map<string, string>()
    for (const cn of values)
      for (const serial of values) {
        const form = formOf(template, { 'cert.cn': cn, 'cert.serial_number': serial })
        if (form.kind !== 'made') continue
        expect(made.get(form.deviceId), `${template} ${cn} ${serial}`).toBeUndefined()
        made.set(form.deviceId, `${cn} ${serial}`)
      }
    expect(made.size).toBeGreaterThan(20)
  }
})
