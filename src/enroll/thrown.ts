/** What a handler or fastify itself has thrown, as one of our codes. Not how it is written, nor what Node refuses before fastify: unparsed.ts. */

import type { FastifyError } from 'fastify'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'

const FASTIFY_CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['body_too_large', 'the body is larger than this route takes'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'send application/json'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['bad_request', 'the body is empty; JSON was announced'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['bad_request', 'the body is not valid JSON'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['bad_request', 'Content-Length and body disagree'],
}

/** What was expected, and which field it was. */
const furtherOf = ({ allowedValues, additionalProperty }: Readonly<Record<string, unknown>>): string => {
  if (Array.isArray(allowedValues)) return `: ${allowedValues.join(', ')}`
  // a name, not something that only stands where a name should
  const isName =
    typeof additionalProperty === 'string' && /^[A-Za-z][A-Za-z_-]{0,39}$/.test(additionalProperty)
  return isName ? `, such as ${additionalProperty}` : ''
}

/** Where and what, never the value: it may be a secret, and it is the client's. */
const schemaRefusal = (error: FastifyError): FleetError => {
  const [first] = error.validation ?? []
  const where = `${error.validationContext ?? 'request'}${first?.instancePath ?? ''}`
  const too = first?.keyword === 'maxLength' && first.instancePath === '/csr'
  return new FleetError(
    too ? 'body_too_large' : 'bad_request',
    `${where} ${first?.message ?? 'is not valid'}${furtherOf(first?.params ?? {})}`,
  )
}

/** Total: whatever is thrown becomes one of our codes. What we do not know is `internal`, and its text stays in the log. */
export const asFleetError = (error: unknown): FleetError => {
  if (error instanceof FleetError) return error
  const thrown = error as Partial<FastifyError>
  if (thrown.validation !== undefined) return schemaRefusal(thrown as FastifyError)
  const known = FASTIFY_CODES[thrown.code ?? '']
  if (known !== undefined) return new FleetError(known[0], known[1], { cause: error })
  if (thrown.statusCode !== undefined && thrown.statusCode >= 400 && thrown.statusCode < 500) {
    return new FleetError('bad_request', 'the request is malformed', { cause: error })
  }
  return new FleetError('internal', 'see the log', { cause: error })
}
