/**
 * What the door holds for a connection once it is admitted: its ClientID, its place among those of its identity, how long it may live, and what
 * stays of it at the broker when it has gone. Not what is said to the broker: ./conversation.ts.
 */

import type { Peer } from '#fleet/peer.ts'
import type { Allowed, Decision } from '#policy/decision.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import type { Reported } from '../admission.ts'
import type { LiveEntry } from '../live.ts'
import type { Parting } from './broker-side.ts'
import { Conversation, type Speaker } from './conversation.ts'
import { lifeEnds } from './deadlines.ts'
import type { DoorParts } from './door-parts.ts'
import { settingsOf, stillNamed, type Admitted, type ConnectAsk, type MqttSettings } from './greeting.ts'
import type { Holder } from './holders.ts'
import type { Sleeper } from './sleepers.ts'
import type { TopicVerdict, Verdicts } from './verdicts.ts'
import { judgeWill } from './will.ts'

export type SessionOwner = LiveEntry & Holder & Speaker

const REVOKED: ReadonlySet<MqttReason> = new Set(['certificate_revoked', 'issuer_revoked'])

export class Session {
  readonly ask: ConnectAsk
  readonly clientId: string
  /** ms since the epoch: when it was let in */
  readonly since: number
  readonly deviceId: string | undefined
  readonly talk: Conversation
  settings: MqttSettings
  /** by which report-only policy it would go, as far as the log says so */
  reported: Reported = undefined
  /** ms since the epoch: as long as it may live */
  until = 0
  readonly #door: DoorParts
  readonly #peer: Peer
  readonly #owner: SessionOwner
  readonly #verdicts: Verdicts
  readonly #place: Disposable
  readonly #longest: number
  #live: Disposable | undefined
  #slept: Sleeper | undefined
  #discard = false

  /** @returns undefined: its identity has as many connections as it may have */
  static take(
    door: DoorParts,
    peer: Peer,
    greeting: Admitted,
    verdicts: Verdicts,
    owner: SessionOwner,
  ): Session | undefined {
    const { connections } = settingsOf(greeting.decision.application)
    const place = door.places.take(greeting.name, greeting.clientId, connections)
    return place && new Session(door, peer, greeting, verdicts, owner, place)
  }

  constructor(
    door: DoorParts,
    peer: Peer,
    greeting: Admitted,
    verdicts: Verdicts,
    owner: SessionOwner,
    place: Disposable,
  ) {
    const { ask, clientId, identity, decision } = greeting
    this.#door = door
    // what a client of a foreign anchor sent above its certificate is asked for when it has gone, too; a socket knows it no longer then
    this.#peer = identity.kind === 'foreign' ? { ...peer } : peer
    this.#owner = owner
    this.#verdicts = verdicts
    this.#place = place
    this.since = door.clock()
    this.#longest = lifeEnds({
      longest: door.mqtt.max_connection,
      now: this.since,
      random: door.random(),
    })
    this.ask = ask
    this.clientId = clientId
    this.deviceId = identity.kind === 'device' ? identity.id : undefined
    this.settings = settingsOf(decision.application)
    this.talk = new Conversation(door, peer, greeting, verdicts, owner, () => this.settings)
  }

  /** Admission has let it in, once more perhaps. @returns until when: {@link Session.until} */
  judged({ application, plan, notAfter }: Allowed): number {
    this.settings = settingsOf(application)
    const end = plan.duration > 0 ? this.since + plan.duration : this.#longest
    return (this.until = Math.min(end, notAfter))
  }

  /** Would it be let in now, as whom it is connected? */
  rejudge(peer: Peer): Decision {
    const decision = this.#door.admission.judge(peer, this.ask)
    return decision.allow ? stillNamed(decision, this.clientId) : decision
  }

  /** May its will still go out? */
  judgeWill(): TopicVerdict {
    return judgeWill(this.#verdicts, this.talk.will)
  }

  /** What becomes of the will of one that is refused now. */
  partingFor(reason: MqttReason): Parting {
    if (this.settings.onRevokeWill === 'discard') return 'drop'
    if (this.#door.endsSession(reason, this)) return 'with-will'
    // the session is there for its device, which has another certificate: as if the network had failed
    return REVOKED.has(reason) ? 'abort' : 'drop'
  }

  /** Asks for the ClientID; {@link Holder.ready} follows. */
  claim(): void {
    const { sleepers, holders, live, sighting } = this.#door
    const { fingerprint } = this.#owner
    // what admission has let in, and nobody else: it confirms a certificate that waits for that
    if (fingerprint !== undefined && this.deviceId !== undefined) sighting(fingerprint)
    this.#live = live.add(this.#owner)
    this.#slept = sleepers.wake(this.clientId)
    if (this.#slept === undefined && this.#mayBeOfBefore()) holders.discard(this.clientId)
    holders.claim(this.clientId, this.#owner)
    // one that was superseded just now has left its session to be watched: that is ours from here on
    this.#slept = sleepers.wake(this.clientId) ?? this.#slept
  }

  /**
   * Does it go on with a session that nobody here has watched, and that may have been there when its device was cut? Of brokers that cannot say which
   * sessions an identity has, ./evictions.ts finds the one under the device's own name only.
   */
  #mayBeOfBefore(): boolean {
    const { mqtt, holders, wasEverCut } = this.#door
    const { deviceId, clientId, talk } = this
    if (mqtt.upstream === undefined || talk.clean || holders.isHeld(clientId)) return false
    return deviceId !== undefined && clientId !== deviceId && wasEverCut(deviceId)
  }

  /** Its device is no longer wanted: nothing of it stays. What ends with the connection anyway is not ended twice. */
  condemn(): void {
    this.#discard = this.talk.stays !== false
  }

  /** Once. @param said has the client said DISCONNECT? */
  end(parting: Parting, said: boolean): void {
    const { talk } = this
    let last: Parting = 'drop'
    try {
      this.#live?.[Symbol.dispose]()
      this.#place[Symbol.dispose]()
      last = said ? 'finish' : this.#willAt(parting)
      this.#fallAsleep()
      if (this.#discard) this.#door.holders.discard(this.clientId)
    } finally {
      // whatever has gone wrong, nobody shall wait for its ClientID
      if (talk.there) talk.part(last, said)
      else this.release()
      talk.close()
    }
  }

  /** The broker has finished with it. */
  release(): void {
    this.#door.holders.release(this.clientId, this.#owner)
  }

  /** A will is judged once more when it would be published: its topic may be closed by now, or its client no longer welcome. */
  #willAt(parting: Parting): Parting {
    if (this.talk.will === undefined) return parting === 'with-will' ? 'drop' : parting
    if (parting !== 'abort') return parting
    const verdict = this.judgeWill()
    if (verdict === 'allowed') return 'abort'
    const refused = this.partingFor(verdict)
    return refused === 'drop' ? 'finish' : refused
  }

  /** What stays at the broker is watched until the client comes back. */
  #fallAsleep(): void {
    const { sleepers } = this.#door
    const { ask, clientId, since, deviceId, talk } = this
    const { connections } = this.settings
    if (this.#discard || talk.stays === false) return sleepers.forget(clientId)
    // a clean one that came to nothing may have ended the session that was there, or not
    const isOwn = talk.stays === true || !talk.clean
    const sleeper = isOwn ? { peer: this.#peer, ask, deviceId, since, connections } : this.#slept
    if (sleeper !== undefined) sleepers.sleep(clientId, sleeper)
  }
}
