/** Does whoever asks want a page or a document? By Accept alone (RFC 9110 §12.5.1). */

/** Media ranges looked at; nobody sends as many. */
const MOST_RANGES = 64

type Weights = { exact: number | undefined; type: number | undefined; any: number | undefined }

const weightOf = (parameters: readonly string[]): number => {
  for (const parameter of parameters) {
    const [, weight] = /^\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*$/i.exec(parameter) ?? []
    if (weight !== undefined) return Math.min(1, Number(weight))
  }
  return 1
}

const best = (before: number | undefined, weight: number): number => Math.max(before ?? 0, weight)

/** The most specific range that covers it decides. */
const settle = ({ exact, type, any }: Weights): number => exact ?? type ?? any ?? 0

/** True when HTML is named and liked better than JSON: browsers. Whoever takes anything (curl) is a program. */
export const prefersHtml = (accept: string | undefined): boolean => {
  if (accept === undefined || !/html|text\/\*/i.test(accept)) return false
  const html: Weights = { exact: undefined, type: undefined, any: undefined }
  const json: Weights = { exact: undefined, type: undefined, any: undefined }
  for (const range of accept.split(',', MOST_RANGES)) {
    const [media = '', ...parameters] = range.split(';')
    const weight = weightOf(parameters)
    switch (media.trim().toLowerCase()) {
      case 'text/html':
      case 'application/xhtml+xml':
        html.exact = best(html.exact, weight)
        break
      case 'text/*':
        html.type = best(html.type, weight)
        break
      case 'application/json':
      case 'application/problem+json':
        json.exact = best(json.exact, weight)
        break
      case 'application/*':
        json.type = best(json.type, weight)
        break
      case '*/*':
        html.any = json.any = best(html.any, weight)
        break
      default:
    }
  }
  return settle(html) > settle(json)
}
