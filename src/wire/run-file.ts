/** `run/<desk>.json`: how a desk says where it listens. Written atomically once it does, removed on exit; a stale pid is ignored. */

import Type, { type Static } from 'typebox'

export const RunFile = Type.Object({
  pid: Type.Integer(),
  version: Type.String(),
  urls: Type.Record(Type.String(), Type.String()),
})
export type RunFile = Static<typeof RunFile>

/** The keys of `urls`, by desk. */
export const DESK_URLS = {
  enroll: ['devices', 'status', 'operator', 'metrics'],
  gateway: ['https', 'mqtts', 'metrics'],
  origin: ['origin'],
} as const
export type Desk = keyof typeof DESK_URLS
