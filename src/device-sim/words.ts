/**
 * The words that refusals and errors are counted under, by door: for those who count (life/) and for those who ask (scenario/assertions.ts), so that
 * nobody can ask for what nobody counts. Not the counting, and not what is said beside a word.
 */

import { DENIALS } from '#fleet/denial.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { MQTT_CODES, type MqttReason } from '#wire/mqtt-codes.ts'
import { isErrorCode } from './client/refusal.ts'
import type { Door } from './events.ts'

/** Nobody has judged anything. */
export const TROUBLE: readonly ErrorCode[] = ['target_unreachable', 'internal']

/** Ours, and not what a server says: its own check of what came, and what ends a run. */
const OWN: readonly ErrorCode[] = ['expectation_broken', 'config_invalid']

/** Without a word of ours they say no all the same: to whoever asks, whatever was asked for. */
const REFUSING: readonly number[] = [401, 403]
/** of an answer that is none of success (RFC 9110 §15.5, §15.6) */
const FAILURES = { least: 400, most: 599 } as const

const includes = (words: readonly string[], word: string): boolean => words.includes(word)

/** The reason of a problem document, when it is one of ours; else what is left is the status. */
export const wordOfAnswer = (status: number, reason: string | undefined): string =>
  reason !== undefined && isErrorCode(reason) ? reason : `http_${status}`

const REFUSING_WORDS = REFUSING.map((status) => wordOfAnswer(status, undefined))

/** Of an answer over HTTPS: a no that is a door's, and not perhaps that of an origin which says it to everybody whom the door has let in. */
export const isDenial = (word: string): boolean => includes(DENIALS, word)

/** Of an answer over HTTPS: has somebody said no? Else something is broken, and nobody has judged anything. */
export const isRefusal = (word: string): boolean => isDenial(word) || includes(REFUSING_WORDS, word)

const isStatus = (word: string): boolean => {
  const status = Number(/^http_(\d{3})$/.exec(word)?.[1])
  return status >= FAILURES.least && status <= FAILURES.most
}

/** @param least of its codes, those that refuse */
const isCode = (word: string, packet: string, least: number): boolean => {
  const code = Number(new RegExp(`^${packet}_([1-9]\\d{0,2})$`).exec(word)?.[1])
  return code >= least && code <= 0xff
}

/** Codes of a SUBACK or a PUBACK from here on say no (MQTT 3.1.1 §3.9.3, MQTT 5 §2.4). */
export const LEAST_REFUSAL = 0x80

/** Only to a request that a door has let in; and what a door never says by itself, without its word. */
const OF_ORIGINS: readonly string[] = ['origin_unreachable', 'origin_timeout']
const ORIGINS_OWN: readonly number[] = [404, 405, 409, 410, 415, 422]

export const saysOrigin = (reason: string): boolean => OF_ORIGINS.includes(reason)

/** Has whoever asked been let in? Whatever became of it behind the door. A reason that is none of ours is an origin's own, and says no more than none. */
export const isLetIn = (status: number, reason: string | undefined): boolean =>
  status < FAILURES.least ||
  (reason !== undefined && isErrorCode(reason) ? saysOrigin(reason) : ORIGINS_OWN.includes(status))

export type Outcome = 'refused' | 'errors'

/** docs/scenarios.md says the same. */
const COUNTED: Readonly<Record<Outcome, Readonly<Record<Door, (word: string) => boolean>>>> = {
  refused: {
    enroll: (word) => isErrorCode(word) && !includes([...TROUBLE, ...OWN], word),
    https: isRefusal,
    mqtt: (word) =>
      isCode(word, 'connack', 1) ||
      isCode(word, 'suback', LEAST_REFUSAL) ||
      isCode(word, 'puback', LEAST_REFUSAL),
  },
  errors: {
    enroll: (word) => includes(TROUBLE, word),
    https: (word) => (isErrorCode(word) || isStatus(word)) && !isRefusal(word),
    mqtt: (word) => word === 'target_unreachable',
  },
}

/** An error's word stands first, and what else was said after it. */
export const wordIn = (detail: string): string => /^\w*/.exec(detail)?.[0] ?? ''

/** Of an error: did a door say it? Else nobody did. */
export const isAnswer = (detail: string): boolean => {
  const word = wordIn(detail)
  return COUNTED.errors.https(word) && word !== 'target_unreachable'
}

export const isCounted = (outcome: Outcome, door: Door, word: string): boolean => COUNTED[outcome][door](word)

const onMqtt = (word: string): string => {
  const { connack3, connack5, suback5, puback5 } = MQTT_CODES[word as MqttReason]
  const first = connack3 === 'close' ? [] : [`refused.mqtt.connack_${connack3}`]
  return [
    ...new Set([
      ...first,
      ...[`connack_${connack5}`, `suback_${suback5}`, `puback_${puback5}`].map(
        (code) => `refused.mqtt.${code}`,
      ),
    ]),
  ].join(' or ')
}

/** Where that which was meant is counted. @returns undefined: nowhere */
export const insteadOf = (outcome: Outcome, door: Door, word: string): string | undefined => {
  if (door === 'mqtt' && outcome === 'refused' && Object.hasOwn(MQTT_CODES, word)) return onMqtt(word)
  if (door === 'enroll' && isStatus(word)) return 'errors.enroll.internal'
  if (door === 'enroll' && word === 'expectation_broken') return 'the promise certificates_verify'
  const doors = [door, ...(['https', 'mqtt', 'enroll'] as const)]
  const found = doors
    .flatMap((where) => (['refused', 'errors'] as const).map((what) => ({ what, where })))
    .find(({ what, where }) => isCounted(what, where, word))
  return found && `${found.what}.${found.where}.${word}`
}

/** A few of what may be asked for, in words. */
export const COUNTED_WORDS: Readonly<Record<Outcome, Readonly<Record<Door, string>>>> = {
  refused: {
    enroll: 'a reason such as token_spent',
    https: `a reason such as ${DENIALS[6]}, or ${REFUSING_WORDS.join(', ')}`,
    mqtt: 'connack_<code>, suback_<code>, puback_<code>',
  },
  errors: {
    enroll: TROUBLE.join(', '),
    https: 'http_<status>, or a reason such as origin_unreachable',
    mqtt: 'target_unreachable',
  },
}
