/**
 * A strict reading of XML, and of HTML that is written like it, for tests of what writes them: every element is closed, every attribute quoted,
 * every `&` an entity that XML or HTML has without a declaration. Throws where it is not so. Not a parser of what others write: no
 * comments, no sections, no namespaces.
 */

export type Element = {
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly Element[]
  /** its own, without that of its children */
  readonly text: string
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"' }
// XML 1.0 §2.2
const FORBIDDEN = /(?![\t\n\r])[\p{Cc}\p{Cs}\ufffe\uffff]/u

const decoded = (text: string): string => {
  if (/&(?!(?:amp|lt|gt|quot|#\d+);)/.test(text) || /[<>]/.test(text)) throw new Error(`not escaped: ${text}`)
  if (FORBIDDEN.test(text)) throw new Error(`a character that XML does not have: ${JSON.stringify(text)}`)
  return text.replace(/&(?:#(\d+)|(\w+));/g, (_, code: string | undefined, name: string) =>
    code === undefined ? (ENTITIES[name] ?? '') : String.fromCodePoint(Number(code)),
  )
}

const attributesOf = (text: string): Record<string, string> => {
  const rest = text.replace(/\s+([\w:-]+)="([^"]*)"/g, '')
  if (rest.trim() !== '') throw new Error(`not an attribute in double quotes: ${rest}`)
  return Object.fromEntries(
    [...text.matchAll(/\s+([\w:-]+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, decoded(value)]),
  )
}

type Open = { name: string; attributes: Record<string, string>; children: Element[]; text: string }

/** The one element of a document; declaration and doctype are passed over. */
export const readElements = (document: string): Element => {
  const body = document.replace(/^(?:<\?xml [^?]*\?>|<!doctype html>)\s*/, '')
  const root: Open = { name: '', attributes: {}, children: [], text: '' }
  const open: Open[] = [root]
  for (const [token, close, name = '', attributes = '', empty, text] of body.matchAll(
    /<(\/)?([a-zA-Z][\w-]*)((?:\s+[\w:-]+="[^"]*")*)\s*(\/)?>|([^<]+)|</g,
  )) {
    const within = open.at(-1) ?? root
    if (text !== undefined) within.text += within.name === 'style' ? text : decoded(text)
    else if (name === '') throw new Error(`a < that begins nothing, in ${within.name}`)
    else if (close !== undefined) {
      if (within.name !== name) throw new Error(`${within.name} is ended by ${token}`)
      open.pop()
    } else {
      const element: Open = { name, attributes: attributesOf(attributes), children: [], text: '' }
      within.children.push(element)
      if (empty === undefined) open.push(element)
    }
  }
  if (open.length > 1) throw new Error(`never ended: ${open.at(-1)?.name}`)
  const [only, ...others] = root.children
  if (only === undefined || others.length > 0) throw new Error('not one element')
  return only
}

/** All of this name, in the order of the document. */
export const elementsOf = (element: Element, name: string): Element[] => [
  ...(element.name === name ? [element] : []),
  ...element.children.flatMap((child) => elementsOf(child, name)),
]
