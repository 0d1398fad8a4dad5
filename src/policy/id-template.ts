/**
 * What a group's devices are called: literal text and variables, such as `pump-${csr.cn}` or `${cert.serial_number}`. A variable of the
 * bootstrap certificate stands for what that certificate says; where no such certificate was shown, and for `csr.cn` always, it stands
 * for whatever the device calls itself. A template of certificate variables alone leaves the device no choice: it makes the id.
 *
 * An id says of whom it is made, in one way only: up to the first place where the text after a variable stands, it is that variable. A
 * certificate that says that text itself gives no id, else (a-b, c) and (a, b-c) would both be a-b-c, and one device the other.
 * Not who the device is: that is the credential's to prove.
 */

import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'

const ID_VARIABLES = ['csr.cn', 'cert.cn', 'cert.serial_number'] as const
type Variable = (typeof ID_VARIABLES)[number]

type Part = { readonly text: string } | { readonly variable: Variable }

export type IdTemplate =
  { readonly ok: true; readonly parts: readonly Part[] } | { readonly ok: false; readonly problem: string }

const no = (problem: string): IdTemplate => ({ ok: false, problem })

const isVariable = (name: string): name is Variable => (ID_VARIABLES as readonly string[]).includes(name)

/** What an id may hold after its first character. */
const TEXT = /^[A-Za-z0-9._~:-]*$/
const VARIABLE = /\$\{([^{}]*)\}/

/** Between two variables there is text, by which they are told apart, and none comes twice. */
export const readIdTemplate = (template: string): IdTemplate => {
  // text, variable, text, variable, …, text
  const pieces = template.split(VARIABLE)
  const texts = pieces.filter((_, at) => at % 2 === 0)
  const names = pieces.filter((_, at) => at % 2 === 1)
  const unknown = names.find((name) => !isVariable(name))
  if (unknown !== undefined)
    return no(`there is no variable \${${unknown}}; there are ${ID_VARIABLES.join(', ')}`)
  if (names.length === 0) return no('it names no variable, so that every device would have the same id')
  if (new Set(names).size < names.length) return no('a variable is there twice')
  if (!texts.every((text) => TEXT.test(text)))
    return no('beside variables it may hold A-Z a-z 0-9 . _ ~ : - only')
  if (texts.slice(1, -1).includes('')) return no('there must be text between two variables')
  const parts = pieces.flatMap((piece, at): Part[] => {
    if (at % 2 === 1) return [{ variable: piece as Variable }]
    return piece === '' ? [] : [{ text: piece }]
  })
  if (!isDeviceId(parts.map((part) => ('text' in part ? part.text : 'x')).join('')))
    return no('it can give no device id: 1 to 64 characters that begin with a letter or digit')
  return { ok: true, parts }
}

/** The certificate's variables that it names. */
export const certificateVariables = (template: string): readonly string[] =>
  ID_VARIABLES.filter((name) => name.startsWith('cert.') && template.includes(`\${${name}}`))

export type IdForm =
  /** the one id that it allows */
  | { readonly kind: 'made'; readonly deviceId: DeviceId }
  /** ids that it allows */
  | { readonly kind: 'form'; readonly allows: (deviceId: DeviceId) => boolean }
  /** what it names is missing, or gives no id */
  | { readonly kind: 'none'; readonly problem: string }

const literally = (text: string): string => text.replaceAll(/[.~:-]/g, String.raw`\$&`)

/** The text up to the next variable; undefined: there is no next one, and it may say what it likes. */
const textAfter = (parts: readonly Part[], at: number): string | undefined => {
  const [text, next] = parts.slice(at + 1)
  return text !== undefined && 'text' in text && next !== undefined ? text.text : undefined
}

/** Would the variable end before its value does? Also by a part of it that the text begins with: `a-`, and then `--`. */
const runsInto = (value: string, after: string): boolean => `${value}${after}`.indexOf(after) < value.length

/**
 * @param variables of the bootstrap certificate that was shown; undefined: none was, and each stands for anything
 */
export const formOf = (template: string, variables: Readonly<Record<string, string>> | undefined): IdForm => {
  const read = readIdTemplate(template)
  if (!read.ok) return { kind: 'none', problem: "the group's id_template cannot be read" }
  const { parts } = read
  const filled = parts.map((part): string | undefined => {
    if ('text' in part) return part.text
    return part.variable === 'csr.cn' || variables === undefined
      ? undefined
      : (variables[part.variable] ?? '')
  })
  if (filled.some((text) => text === '' || (text !== undefined && !TEXT.test(text)))) {
    const names = certificateVariables(template).join(', ')
    return { kind: 'none', problem: `the certificate has no ${names} that a device id can be made of` }
  }
  for (const [at, part] of parts.entries()) {
    const [value, after] = [filled[at], textAfter(parts, at)]
    if ('variable' in part && value !== undefined && after !== undefined && runsInto(value, after))
      return {
        kind: 'none',
        problem: `the certificate's ${part.variable} has "${after}" in it, which ends it in the group's ids`,
      }
  }
  if (!filled.includes(undefined)) {
    const deviceId = filled.join('')
    return isDeviceId(deviceId)
      ? { kind: 'made', deviceId }
      : { kind: 'none', problem: 'what the certificate says makes no device id of 1 to 64 characters' }
  }
  // at most three gaps with text between them, and 64 characters to try: bounded work
  const pattern = filled.map((text, at) => {
    if (text !== undefined) return literally(text)
    const after = textAfter(parts, at)
    return after === undefined ? '.+' : `(?:(?!${literally(after)}).)+`
  })
  const form = new RegExp(`^${pattern.join('')}$`)
  return { kind: 'form', allows: (deviceId) => form.test(deviceId) }
}
