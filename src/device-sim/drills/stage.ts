/**
 * What a drill is given: the doors, a way to enrol devices of its own, and helpers that ask, count and check in one step, so that
 * a drill reads as what it tries and what must come of it.
 */

import type { SecureContext } from 'node:tls'
import type { KeyKind } from '#fleet/certificate.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Denial } from '#fleet/denial.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { MQTT_CODES, SUBACK_FAILURE } from '#wire/mqtt-codes.ts'
import { PROBLEMS } from '#wire/problems.ts'
import { clientContext } from '../client/connection.ts'
import { confirmDevice, enrollDevice, renewDevice } from '../client/enroll-device.ts'
import { httpsOnce, type HttpsAnswer } from '../client/https-once.ts'
import type { Enrolled, Targets } from '../client/identity.ts'
import type { RenewalKey } from '../client/key.ts'
import type { Meter } from '../client/meter.ts'
import { mqttConnect, type MqttLink, type MqttOptions } from '../client/mqtt-connect.ts'
import type { Operator } from '../client/operator.ts'
import { wordOf } from '../client/refusal.ts'
import type { Staging } from '../client/staging.ts'
import { pause } from '../waiting.ts'
import { wordOfAnswer } from '../words.ts'
import type { Expectations } from './expectations.ts'
import type { Ledger } from './ledger.ts'

/** One request as the origin saw it. Read by the drill's driver, never through the gateway. */
export type Sighting = {
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  /** as the origin's own verification of the assertion has it */
  readonly device: string | null
  readonly assertion: string | null
}

export type StageOptions = {
  readonly targets: Targets
  readonly rootPem: string
  /** unbound, with enough uses for the drills' devices */
  readonly token: string
  readonly operator?: Operator | undefined
  readonly seen?: (() => Promise<readonly Sighting[]>) | undefined
  /** for drills that put something into the target; taken away by whoever made it, after the drills */
  readonly staging?: Staging | undefined
  /** there is time to wait out a limit of the server (ten seconds) */
  readonly patience?: true | undefined
  /** makes the names of this run's devices and targets its own */
  readonly run: string
  readonly meter: Meter
  readonly ledger: Ledger
  readonly expectations: Expectations
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** ms for each answer: a door says no within a second, and a drill may have to ask often */
const TIMEOUT = 5_000
/** ms for a connection to be cut; the promise is 100, but this is no timed test: it must end, not hang */
const CUT = 2 * SECOND

type Asking = {
  readonly context: SecureContext
  /** one of its own when nothing is said */
  readonly target?: string | undefined
  /** SNI; null: none */
  readonly serverName?: string | null | undefined
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly session?: Buffer | undefined
  readonly keepSession?: boolean | undefined
}

export type Stage = StageOptions & {
  /** a device of this drill */
  enroll(name: string, o?: { readonly token?: string; readonly keyKind?: KeyKind }): Promise<Enrolled>
  /** its next certificate, which waits to be confirmed */
  renew(device: Enrolled, o?: RenewalKey): Promise<Enrolled>
  confirm(device: Enrolled): Promise<void>
  /** TLS with that device's certificate; with none, when undefined */
  contextOf(device: Enrolled | undefined, version?: 'TLSv1.2' | 'TLSv1.3'): SecureContext
  /** a target no other request of this run has */
  target(name: string): string
  /** One request to the HTTPS door. Counts nothing: {@link Stage.admits} and {@link Stage.refuses} do. */
  ask(target: string, asking: Asking): Promise<HttpsAnswer>
  /** It must get through, and is counted as `deviceId`'s. */
  admits(expectation: string, deviceId: string, asking: Asking): Promise<HttpsAnswer>
  /** It must be refused for this reason, with the status that belongs to it, and is counted under the reason it got. */
  refuses(expectation: string, reason: ErrorCode, asking: Asking): Promise<HttpsAnswer>
  /** What is tried at another door must fail with one of these words. */
  denies(expectation: string, words: ErrorCode | readonly ErrorCode[], work: Promise<unknown>): Promise<void>
  /** CONNECT must be accepted. undefined when it was not; the expectation has failed then. */
  connects(expectation: string, o: MqttAsking): Promise<MqttLink | undefined>
  /** CONNECT must get the answer that belongs to this reason. @returns whether it did get in */
  refusesConnect(expectation: string, reason: Denial, o: MqttAsking): Promise<boolean>
  /** The server must end what stands, within 2 s or `within` ms. Nothing, when nothing has come to stand: that has failed already. */
  cuts(expectation: string, link: MqttLink | undefined, within?: number): Promise<void>
  /** SUBSCRIBE must be refused, with the connection left standing. */
  refusesTopic(expectation: string, link: MqttLink, filter: string): Promise<void>
  /** PUBLISH must be counted as sent. */
  publishes(expectation: string, link: MqttLink, topic: string, payload: string): Promise<void>
}

type MqttAsking = Omit<MqttOptions, 'url' | 'signal' | 'meter'>

const shown = (answer: HttpsAnswer): string =>
  `${answer.status} ${answer.reason ?? ''}${answer.resumed ? ', resumed' : ''}`

/** Refused for this reason, with the status that belongs to it, on a full handshake. @returns what was wrong; undefined: it was */
export const wasRefused = (reason: ErrorCode, answer: HttpsAnswer): string | undefined => {
  const { status } = PROBLEMS[reason]
  return answer.status === status && answer.reason === reason && !answer.resumed
    ? undefined
    : `expected ${status} ${reason}, got ${shown(answer)}`
}

export const createStage = (o: StageOptions): Stage => {
  const { targets, rootPem, meter, ledger, expectations, signal } = o
  let asked = 0

  const target = (name: string): string => `/drill/${o.run}/${name}/${++asked}`

  const ask: Stage['ask'] = (path, asking) =>
    httpsOnce({ ...asking, url: new URL(path, targets.https).href, timeout: TIMEOUT, signal, meter })

  const connect = (asking: MqttAsking) =>
    mqttConnect({ ...asking, url: targets.mqtts, timeout: TIMEOUT, signal, meter })

  return {
    ...o,
    async enroll(name, { token = o.token, keyKind } = {}) {
      const id = `drill-${o.run}-${name}`
      const server = targets.enroll
      const enrolled = await enrollDevice({ server, token, id, keyKind, rootPem, signal, meter })
      ledger.enrolled()
      return enrolled
    },
    renew: (device, key) => renewDevice({ ...key, server: targets.enroll, enrolled: device, signal, meter }),
    confirm: (device) => confirmDevice({ server: targets.enroll, enrolled: device, signal, meter }),
    contextOf: (device, version) => clientContext({ rootPem, identity: device, version }),
    target,
    ask,
    async admits(expectation, deviceId, asking) {
      const path = asking.target ?? target(expectation)
      const answer = await ask(path, asking)
      const held = answer.status < 300 && !answer.resumed
      if (answer.status < 300) ledger.admitted(path, deviceId)
      expectations.check(expectation, held, `expected to be admitted, got ${shown(answer)}`)
      return answer
    },
    async refuses(expectation, reason, asking) {
      const path = asking.target ?? target(expectation)
      const answer = await ask(path, asking)
      if (answer.status < 300) ledger.admitted(path, '(nobody)')
      else ledger.refused('https', wordOfAnswer(answer.status, answer.reason))
      const wrong = wasRefused(reason, answer)
      expectations.check(expectation, wrong === undefined, wrong ?? '')
      return answer
    },
    async denies(expectation, words, work) {
      const word = await work.then(() => 'what was asked for', wordOf)
      const held = [words].flat().some((each) => each === word)
      expectations.check(expectation, held, `expected ${[words].flat().join(' or ')}, got ${word}`)
    },
    async connects(expectation, asking) {
      const outcome = await connect(asking)
      if (outcome.accepted) ledger.connected()
      expectations.check(
        expectation,
        outcome.accepted && !outcome.resumed,
        `expected CONNACK 0, got ${outcome.accepted ? 'a resumed session' : (outcome.code ?? 'none')}`,
      )
      return outcome.accepted ? outcome.link : undefined
    },
    async refusesConnect(expectation, reason, asking) {
      const outcome = await connect(asking)
      const expected = MQTT_CODES[reason].connack3
      const got = outcome.accepted ? 0 : (outcome.code ?? 'close')
      if (outcome.accepted) {
        ledger.connected()
        await outcome.link.close()
      }
      const held = got === expected && !outcome.resumed
      if (held) ledger.refused('mqtt', reason)
      expectations.check(expectation, held, `expected CONNACK ${expected} for ${reason}, got ${got}`)
      return outcome.accepted
    },
    async cuts(expectation, link, within = CUT) {
      if (link === undefined) return
      await pause(within, signal, link.ended)
      expectations.check(expectation, !link.isOpen(), 'the open connection was not cut')
    },
    async refusesTopic(expectation, link, filter) {
      const granted = await link.subscribe(filter)
      const held = granted === SUBACK_FAILURE && link.isOpen()
      if (held) ledger.refused('mqtt', 'topic_denied')
      expectations.check(expectation, held, `expected SUBACK 0x80 for ${filter}, got ${granted}`)
    },
    async publishes(expectation, link, topic, payload) {
      const outcome = await link.publish(topic, payload)
      if (outcome === 'done') ledger.published()
      expectations.check(expectation, outcome === 'done', `expected PUBACK for ${topic}, got ${outcome}`)
    },
  }
}
