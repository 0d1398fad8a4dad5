/** A worker's part of what the whole gateway may do. Not what is bounded per request: that is the same for each. */

import type { Config } from '#runtime/config.ts'

/** @returns limits that are counted in one process divided by `workers`, rounded up */
export const shareOf = (config: Config, workers: number): Config => {
  const part = (whole: number): number => Math.ceil(whole / workers)
  const { limits, https } = config
  return {
    ...config,
    limits: { ...limits, max_connections: part(limits.max_connections) },
    https: {
      ...https,
      connections_per_address: part(https.connections_per_address),
      requests_per_certificate: part(https.requests_per_certificate),
    },
  }
}
