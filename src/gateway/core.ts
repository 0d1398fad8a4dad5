/**
 * What both doors stand on, opened once: registry, anchors, admission, signing keys, sessions, who is connected, the inbox, the feed
 * that keeps them true. Not the doors: service.ts opens those on this.
 */

import type { Application } from '#fleet/access.ts'
import { openInboxWriter } from '#registry/inbox.ts'
import type { Change, InboxEntry, RegistryReader } from '#registry/registry.ts'
import { openRegistryReader } from '#registry/sqlite.ts'
import type { Config } from '#runtime/config.ts'
import type { Scope } from '#runtime/run.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { openServerIdentity } from '#runtime/server-identity.ts'
import { deviceContext, serverOptions } from '#runtime/tls.ts'
import { createAccessReader, createAdmission, type Admission } from './admission.ts'
import { createAnonymousLines, type AnonymousLines } from './anonymous-lines.ts'
import { createAnchors, type Anchors } from './anchors.ts'
import { createAssertions, type Assertions } from './assertion.ts'
import { createContexts, type Contexts } from './contexts.ts'
import { createCrlLoads } from './crl-loads.ts'
import { startFeed } from './feed.ts'
import { createKeyRing, type KeyRing } from './key-ring.ts'
import { createLive, type LiveControl } from './live.ts'
import { createNamedCas } from './named-cas.ts'
import type { EndedHolder } from './sessions/ended-holders.ts'
import { createSessions, type Sessions } from './sessions/sessions.ts'

export type Core = AsyncDisposable &
  Pick<RegistryReader, 'groups' | 'wasCut' | 'cutDevices'> & {
    readonly admission: Admission
    readonly anchors: Anchors
    readonly assertions: Assertions
    readonly sessions: Sessions
    readonly keys: Pick<KeyRing, 'published'>
    readonly live: LiveControl
    /**
     * @param defaultHostname whose anchors clients without SNI are held against; undefined: nobody's
     * @param o.enrolling clients are told of the CAs of enrolment groups too: ./named-cas.ts
     * @param o.asTold handshakes are by the anchors that the feed has told of, and do not ask the registry for them: another anchor of a hostname is trusted a moment later
     */
    contexts(
      defaultHostname?: string,
      o?: { readonly enrolling?: boolean; readonly asTold?: boolean },
    ): Contexts
    /** hostnames that exist to a stranger; throws `registry_unavailable` */
    isKnownHost(hostname: string): boolean
    /** as it is now; undefined: there is none, or the registry cannot be read */
    applicationNamed(name: string): Application | undefined
    /** Can it judge? While the registry cannot be read, everybody is refused. */
    ready(): boolean
    readonly anonymousLines: AnonymousLines
    sighting(door: InboxEntry['door'], fingerprint: string): void
    /** Somebody else seems to hold this certificate too: two live MQTT connections have taken a ClientID from each other. The enroll desk hears of it. */
    suspect(fingerprint: string): void
    /** Somebody has logged out in another process of this gateway, which has told the enroll desk. */
    loggedOutElsewhere(ended: EndedHolder): void
    /** Called with every batch of changes, after what is connected has been told to judge itself again. What it throws makes the batch come again. */
    onChanges(listener: (changes: readonly Change[]) => void): Disposable
  }

/**
 * @param tellOthers of a logout, before the registry does; undefined: this is the only process whose sessions they are
 * @throws FleetError `config_invalid`, `registry_unavailable`
 */
export const openCore = async (
  config: Config,
  { log, metrics, clock }: Scope,
  tellOthers?: (ended: EndedHolder) => Promise<void>,
): Promise<Core> => {
  await using opened = new AsyncDisposableStack()

  const identity = opened.use(openServerIdentity(config.tls, log))
  const secret = readSecretKey(config.secrets.key_file)
  const registry = opened.use(await openRegistryReader({ path: config.registry.path }))
  const inbox = opened.use(await openInboxWriter({ path: config.registry.inbox, clock }))

  const problem = (text: string): void => {
    log.warn(text)
  }
  const access = createAccessReader(registry, problem)
  const anchors = createAnchors({
    snapshot: () => registry.access(),
    clock,
    makeContext: (ca) => deviceContext({ ...identity.current(), ca }),
    problem,
  })
  const keys = createKeyRing({ secret, clock, log })
  const assertions = createAssertions({ keys, clock })
  const live = createLive()
  const sessions = createSessions({
    keys,
    registry,
    clock,
    recorded: (leaf, host) =>
      anchors.standingOfRecorded(registry.access(), leaf, host, (fingerprint) =>
        registry.status(fingerprint),
      ),
    ended: (ended) => {
      const { holder, at } = ended
      inbox.append({ kind: 'logout', subject: holder, at, door: 'https' })
      live.recheckHolder(holder)
      return tellOthers?.(ended)
    },
  })
  metrics.gauge('sallyport_live_entries', 'Requests and connections being served', [], () => live.size())

  const made: ReturnType<typeof createContexts>[] = []
  const reload = (): void => {
    for (const contexts of made) contexts.reload()
  }
  identity.onChange(() => {
    anchors.forgetContexts()
    reload()
  })

  /** Reads of CRLs, and ends of CRLs: nothing in the registry changes with those. */
  let crlChanges = 0
  const crls = opened.use(
    createCrlLoads({
      read: () => registry.anchorCrls(),
      set: (records) => anchors.setCrls(records),
      changed: () => {
        crlChanges += 1
        live.recheck([{ kind: 'anchor_crls' }])
      },
      failed: (err) => {
        log.error({ err }, 'the CRLs of the anchors cannot be loaded')
      },
      clock,
    }),
  )

  const listeners = new Set<(changes: readonly Change[]) => void>()
  const apply = async (changes: readonly Change[]): Promise<void> => {
    const kinds = new Set(changes.map(({ kind }) => kind))
    if (kinds.has('issuer') || kinds.has('reset')) anchors.setIssuers(await registry.issuers())
    if (kinds.has('assertion_keys') || kinds.has('reset')) keys.load(await registry.assertionKeys())
    // not waited for: they may be large, and a revoked device must not be
    if (kinds.has('anchor_crls') || kinds.has('reset')) crls.reload()
    if (kinds.has('access') || kinds.has('reset')) anchors.refresh()
    // issuers too: the default context trusts those that stand under its anchors
    if (kinds.has('access') || kinds.has('issuer') || kinds.has('reset')) reload()
    live.recheck(changes)
    for (const listener of listeners) listener(changes)
  }
  // the cursor first: what changes while we read is told again
  const cursor = await registry.cursor()
  anchors.setIssuers(await registry.issuers())
  keys.load(await registry.assertionKeys())
  await crls.load()
  const feed = opened.use(startFeed({ registry, cursor, log, onChanges: apply }))

  const anonymousLines = opened.use(createAnonymousLines(log, 'refused: more clients that nobody knows'))
  const bypassLines = opened.use(createAnonymousLines(log, 'admitted: more requests by a bypass'))
  const admission = createAdmission({
    anonymousLines,
    bypassLines,
    access,
    registry,
    anchors,
    clock,
    log,
    metrics,
    sessionDuration: config.https.session_duration,
    epoch: () => feed.epoch() + crlChanges,
  })
  const stack = opened.move()
  return {
    admission,
    anchors,
    assertions,
    sessions,
    keys,
    live,
    contexts: (defaultHostname, { enrolling = false, asTold = false } = {}) => {
      const named = enrolling ? createNamedCas(() => registry.groups()) : () => []
      const contexts = createContexts({
        problem: (err) => {
          log.error({ err }, 'a door goes on with its old TLS context')
        },
        contextFor: (hostname) => anchors.contextFor(hostname, { named: named(), asTold }),
        options: () =>
          serverOptions({
            ...identity.current(),
            ca: defaultHostname === undefined ? [] : anchors.caFor(defaultHostname, named()),
            handshakeTimeout: config.limits.handshake_timeout,
          }),
      })
      made.push(contexts)
      return contexts
    },
    ready: () => feed.works(),
    anonymousLines,
    isKnownHost: (hostname) => access().access.known.has(hostname),
    applicationNamed: (wanted) => {
      try {
        return access().snapshot.applications.find(({ name }) => name === wanted)
      } catch {
        return undefined
      }
    },
    sighting: (door, fingerprint) => {
      inbox.append({ kind: 'seen', subject: fingerprint, at: clock(), door })
    },
    suspect: (fingerprint) => {
      inbox.append({ kind: 'clone', subject: fingerprint, at: clock(), door: 'mqtt' })
    },
    loggedOutElsewhere: (ended) => {
      sessions.endOf(ended)
      live.recheckHolder(ended.holder)
    },
    onChanges: (listener) => {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    groups: () => registry.groups(),
    wasCut: (deviceId, since) => registry.wasCut(deviceId, since),
    cutDevices: (since, after, limit) => registry.cutDevices(since, after, limit),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
