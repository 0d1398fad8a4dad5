/** A refusal of a reader, for `toThrow`. */

import { expect } from 'vitest'
import type { ErrorCode } from '#fleet/errors.ts'

export const refusal = (detail: RegExp, code: ErrorCode = 'bad_request'): Error =>
  expect.objectContaining({ code, detail: expect.stringMatching(detail) as string }) as Error
