/**
 * The issuers whose keys this signer holds: `ca.intermediate` and what lies in `ca.issuers`; one that is put there later is found without
 * a restart. Not their states: those are the registry's, which the signer does not read.
 */

import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import { findIssuers, openLocalIssuer } from '../issuing.ts'

export interface Keys extends AsyncDisposable {
  all(): readonly Issuer[]
  /** @throws issuer_unusable: its key is not here */
  of(ski: string): Issuer
  /** Looks for new ones, unless it has just looked. What is wrong with one is logged, once. */
  refresh(): Promise<void>
}

/** Whoever comes to the socket makes the signer look; ms. */
const APART = 1_000

/** @throws FleetError `config_invalid`: `ca.intermediate` or its key is missing, open to others, or no issuer of this root */
export const openKeys = async (o: {
  readonly config: Config
  readonly clock: Clock
  readonly log: Log
}): Promise<Keys> => {
  const { config, clock, log } = o
  const issuers = new Map<string, Issuer>()
  const said = new Set<string>()
  let lookedAt = -Infinity
  let underway: Promise<void> | undefined

  const say = (problem: string): void => {
    if (said.has(problem)) return
    said.add(problem)
    log.warn({ problem }, 'an issuer cannot be used')
  }

  const look = async (first: boolean): Promise<void> => {
    const { places, problems } = findIssuers(config)
    for (const problem of problems) say(problem)
    for (const place of places) {
      if (issuers.has(place.ski)) continue
      try {
        issuers.set(place.ski, await openLocalIssuer(config, place, clock()))
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
    all: () => [...issuers.values()],
    of: (ski) => {
      const issuer = issuers.get(ski)
      if (issuer === undefined)
        throw new FleetError('issuer_unusable', `the signer has no key of issuer ${ski}`)
      return issuer
    },
    refresh: async () => {
      if (underway === undefined && performance.now() - lookedAt >= APART) {
        lookedAt = performance.now()
        underway = look(false)
          .catch((error: unknown) => say(error instanceof FleetError ? error.detail : String(error)))
          .finally(() => (underway = undefined))
      }
      await underway
    },
    async [Symbol.asyncDispose]() {
      await underway
      for (const issuer of issuers.values()) await issuer[Symbol.asyncDispose]()
    },
  }
}
