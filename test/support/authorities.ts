/**
 * Issuers and server anchors of a desk without its listeners: real issuers over keys in memory, a registry of its own, the use cases over
 * both. Not the routes and not the files: those have tests of their own.
 */

import { openIssuers, type FoundIssuers, type IssuerPlace, type LiveIssuers } from '#enroll/issuers.ts'
import type { Authorities } from '#enroll/rotate.ts'
import { openTrust, type Trust } from '#enroll/trust.ts'
import type { Clock } from '#fleet/clock.ts'
import { openIssuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { makeCa, makePki, type TestCa, type TestPki } from './pki.ts'

const DAY = 86_400_000
export const CRL_TTL = DAY

export type TestAuthorities = Authorities &
  AsyncDisposable & {
    readonly pki: TestPki
    readonly issuers: LiveIssuers & { readonly problems: readonly string[] }
    readonly trust: Trust
    readonly logLines: readonly string[]
    /** the files of a further issuer come: found by the next scan */
    addIssuer(ca?: TestCa): TestCa
    /** another one is put under `ca.intermediate` */
    configure(): TestCa
    /** `ca.intermediate` cannot be read from now on */
    breakConfigured(error: Error): void
    /** a signer says this of the key of that issuer; undefined: it has it */
    complain(ski: string, problem: string | undefined): void
    /** what the listeners of this desk present */
    present(pem: string): void
  }

const placeOf = (ca: TestCa, configured: boolean): IssuerPlace => ({
  name: configured ? 'ca.intermediate' : `issuers/${ca.ski}.pem`,
  certificate: ca.pem,
  key: ca.keyPem,
  configured,
  ski: ca.ski,
  spkiSha256: ca.facts.spkiSha256,
  notAfter: ca.facts.notAfter,
})

/** @param o.pki default: one of `clock()`; its `devices` is the configured issuer */
export const openAuthorities = async (o: {
  readonly registry: Registry
  readonly clock: Clock
  readonly pki?: TestPki
  readonly minOffered?: number
  readonly minShare?: number
}): Promise<TestAuthorities> => {
  const { registry, clock } = o
  const pki = o.pki ?? makePki({ now: clock() })
  const found: { places: IssuerPlace[]; problems: string[]; failed?: Error | undefined } = {
    places: [placeOf(pki.devices, true)],
    problems: [],
  }
  const unready = new Map<string, string>()
  const issuers = await openIssuers({
    registry,
    clock,
    crlTtl: CRL_TTL,
    find: (): FoundIssuers => found,
    open: async (place) => {
      const opened = await openIssuer({
        rootPem: pki.root.pem,
        intermediatePem: place.certificate,
        keyPem: place.key,
        statusUrl: 'http://status.test',
        now: clock(),
      })
      const { ski, certificate } = opened
      const issuer = { ...opened, ready: () => !unready.has(ski), problem: () => unready.get(ski) }
      const { der, spkiSha256 } = certificate
      const state = (await registry.issuers()).length === 0 ? 'active' : 'prepared'
      await registry.registerIssuer({ ski, der, spkiSha256, state }, clock())
      return issuer
    },
  })
  let presented = pki.server().fullPem
  const logLines: string[] = []
  const log = createLog('enroll', 'debug', { write: (line) => logLines.push(line) })
  const trust = await openTrust({
    registry,
    issuers,
    root: pki.root.facts,
    presented: () => presented,
    clock,
    log,
  })
  return {
    registry,
    issuers,
    trust,
    clock,
    minOffered: o.minOffered ?? 7 * DAY,
    minShare: o.minShare ?? 0.95,
    pki,
    logLines,
    addIssuer: (
      ca = makeCa({ name: `Further ${found.places.length}`, now: clock(), by: pki.root, pathLength: 0 }),
    ) => {
      found.places.push(placeOf(ca, false))
      return ca
    },
    configure: () => {
      const ca = makeCa({ name: 'Put There', now: clock(), by: pki.root, pathLength: 0 })
      found.places = [placeOf(ca, true), ...found.places.map((place) => ({ ...place, configured: false }))]
      return ca
    },
    breakConfigured: (error) => {
      found.places = found.places.filter(({ configured }) => !configured)
      found.failed = error
    },
    complain: (ski, problem) => {
      if (problem === undefined) unready.delete(ski)
      else unready.set(ski, problem)
    },
    present: (pem) => {
      presented = pem
    },
    [Symbol.asyncDispose]: () => issuers[Symbol.asyncDispose](),
  }
}
