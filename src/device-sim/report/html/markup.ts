/**
 * Markup that cannot be forgotten to be escaped: what is put into the template is text, unless it was made by the template itself.
 * Not the page.
 */

export type Markup = { readonly markup: string }
export type Content = Markup | string | number | undefined | readonly Content[]

/** Of text that comes from outside: longer ones are cut, and say so. */
const LONGEST = 600

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

// what would be drawn as nothing, or turn round the text beside it: controls, and the bidirectional formatting characters
const UNSEEN = /(?!\n)[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ufffe\uffff]/gu

const shown = (character: string): string =>
  `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`

/** Text for an element or an attribute in quotes. */
export const escaped = (text: string, most = LONGEST): string =>
  (text.length > most ? `${text.slice(0, most)}… (${text.length - most} more characters)` : text)
    .toWellFormed()
    .replace(UNSEEN, shown)
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

/** Text that is of use in one piece only: a command. */
export const whole = (text: string): Markup => ({ markup: escaped(text, 20_000) })

const isList = (content: Content): content is readonly Content[] => Array.isArray(content)

const written = (content: Content): string => {
  if (content === undefined) return ''
  if (isList(content)) return content.map(written).join('')
  return typeof content === 'object' ? content.markup : escaped(String(content))
}

/** Of the source's own lines. */
const INDENT = /\n\s*/g

/** Everything that is put in is escaped, but for markup that this made. Attributes have to be in double quotes. */
export const html = (parts: TemplateStringsArray, ...contents: readonly Content[]): Markup => ({
  markup: parts
    .map((part) => part.replace(INDENT, '\n'))
    .map((part, i) => (i === 0 ? part : `${written(contents[i - 1])}${part}`))
    .join(''),
})

/** A path's data, an attribute or a style sheet: made here, of nothing from outside. */
export const trusted = (markup: string): Markup => ({ markup })
