/** A claim token for simulated devices, gone again when they are done. Not for real ones: those are given theirs by a person. */

import type { TokenCreated } from '#wire/rest.ts'
import type { OperatorApi } from './operator-api.ts'

/** @param uses how many devices may enrol with it */
export const withFleetToken = async <T>(
  api: OperatorApi,
  uses: number,
  work: (token: string) => Promise<T>,
): Promise<T> => {
  const body = { uses, expires: '1h' }
  const { id, token } = await api.call<TokenCreated>('POST', '/v1/tokens', { body })
  try {
    return await work(token)
  } finally {
    await api.call('POST', `/v1/tokens/${id}/revoke`)
  }
}
