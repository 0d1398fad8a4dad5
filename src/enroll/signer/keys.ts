/**
 * The issuers whose keys this signer holds: `ca.intermediate` and what lies in `ca.issuers`. One that is put there later is found without
 * a restart, and one whose files are taken away is let go: that is how a key is ended here. Not their states: those are the registry's,
 * which the signer does not read.
 */

import { existsSync } from 'node:fs'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { IssuerPlace } from '../issuers.ts'
import { findIssuers, lookForIssuers, openLocalIssuer } from '../issuing.ts'

export interface Keys extends AsyncDisposable {
  all(): readonly Issuer[]
  /** @throws issuer_unusable: its key is not here, or not any more */
  of(ski: string): Issuer
  /** Looks for new ones and for those that are gone, unless it has just looked. What is wrong with one is logged, once. */
  refresh(): Promise<void>
}

/** Whoever comes to the socket makes the signer look; and an issuer that signs, at its files. ms */
const APART = 1_000

type Held = { readonly issuer: Issuer; readonly place: IssuerPlace; seen: number }

/** @throws FleetError `config_invalid`: `ca.intermediate` or its key is missing, open to others, or no issuer of this root */
export const openKeys = async (o: {
  readonly config: Config
  readonly clock: Clock
  readonly log: Log
  /** for tests, ms */
  readonly apart?: number
}): Promise<Keys> => {
  const { config, clock, log, apart = APART } = o
  const held = new Map<string, Held>()
  const said = new Set<string>()
  let lookedAt = -Infinity
  let underway: Promise<void> | undefined

  const say = (problem: string): void => {
    if (said.has(problem)) return
    said.add(problem)
    log.warn({ problem }, 'an issuer cannot be used')
  }

  /** What is under way with it is refused by its end. */
  const letGoIfGone = (each: Held): void => {
    each.seen = performance.now()
    const { certificate, key, ski } = each.place
    const gone = [certificate, key].find((path) => !existsSync(path))
    if (gone === undefined) return
    held.delete(ski)
    void each.issuer[Symbol.asyncDispose]()
    log.warn({ issuer: ski, gone }, 'a key has been taken away, and signs no more')
  }

  /** Also one whose certificate was made anew, for the same key and with a later end. */
  const isNew = ({ ski, spkiSha256, notAfter }: IssuerPlace): boolean => {
    const known = held.get(ski)?.issuer.certificate
    return known === undefined || (known.spkiSha256 === spkiSha256 && known.notAfter < notAfter)
  }

  const look = async (first: boolean): Promise<void> => {
    for (const each of held.values()) letGoIfGone(each)
    const { places, problems, failed } = (first ? findIssuers : lookForIssuers)(config)
    for (const problem of problems) say(problem)
    if (failed !== undefined) say(failed instanceof FleetError ? failed.detail : String(failed))
    for (const place of places) {
      if (!isNew(place)) continue
      try {
        const issuer = await openLocalIssuer(config, place, clock())
        held.set(place.ski, { issuer, place, seen: performance.now() })
        log.info({ issuer: place.ski, certificate: place.certificate }, 'a key is here')
      } catch (error) {
        const detail = error instanceof FleetError ? `${place.name}: ${error.detail}` : String(error)
        if (place.configured && first) throw new FleetError('config_invalid', detail, { cause: error })
        say(detail)
      }
    }
  }

  await look(true)
  return {
    all: () => [...held.values()].map(({ issuer }) => issuer),
    of: (ski) => {
      const found = held.get(ski)
      if (found !== undefined && performance.now() - found.seen >= apart) letGoIfGone(found)
      if (found === undefined || !held.has(ski))
        throw new FleetError('issuer_unusable', `the signer has no key of issuer ${ski}`)
      return found.issuer
    },
    refresh: async () => {
      if (underway === undefined && performance.now() - lookedAt >= apart) {
        lookedAt = performance.now()
        underway = look(false)
          .catch((error: unknown) => say(error instanceof FleetError ? error.detail : String(error)))
          .finally(() => (underway = undefined))
      }
      await underway
    },
    async [Symbol.asyncDispose]() {
      await underway
      for (const { issuer } of held.values()) await issuer[Symbol.asyncDispose]()
    },
  }
}
