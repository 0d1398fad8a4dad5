/** `run/<desk>.json`: how a desk says where it listens. Written atomically once it does, removed on exit; a stale pid is ignored. */

import Type, { type Static } from 'typebox'
import { Check } from 'typebox/value'

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
  /** a path: nothing of it is on a network */
  signer: ['socket'],
  /** `seen`: a loopback port of its own, see examples/origin */
  origin: ['origin', 'seen'],
} as const
export type Desk = keyof typeof DESK_URLS

/** @returns undefined when the text is not a run file */
export const parseRunFile = (text: string): RunFile | undefined => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return Check(RunFile, value) ? value : undefined
}
