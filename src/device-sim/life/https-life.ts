/** How a simulated device lives over HTTPS: one request, one handshake, one answer. When the next comes is the load's. */

import { FleetError } from '#fleet/errors.ts'
import { httpsOnce, type HttpsAnswer } from '../client/https-once.ts'
import { now } from '../clock.ts'
import type { FleetEvent } from '../events.ts'
import { closedLoop } from '../load/closed.ts'
import { LATE } from '../load/open.ts'
import { messageOf } from '../load/payload.ts'
import { said } from '../said.ts'
import { firstOf } from '../waiting.ts'
import { isErrorCode } from '../client/refusal.ts'
import { isLetIn, isRefusal, saysOrigin, wordOfAnswer } from '../words.ts'
import type { Shown, Verdict } from './identity-keeper.ts'
import type { Life } from './life.ts'
import type { VirtualDevice } from './virtual-device.ts'

/**
 * ms that a request of an open loop holds its place among the connections that are opening: a server that is slow is asked no less for it, 256 times a
 * second by one process at the least.
 */
const HOLDS = 250
/** What a door says of the certificate that it was shown. */
const OF_CERTIFICATES = /^(certificate|device)_/
/** Without a word these may be about anything. */
const UNCLEAR = [400, 401, 403]

/** Of the certificate, nothing else: rate limits, policies, a registry that is away say nothing of it. */
const verdictIn = ({ status, reason }: HttpsAnswer): Verdict | undefined => {
  if (status < 400) return 'admitted'
  if (reason === undefined || !isErrorCode(reason)) return UNCLEAR.includes(status) ? undefined : 'admitted'
  if (OF_CERTIFICATES.test(reason)) return 'refused'
  return saysOrigin(reason) ? 'admitted' : undefined
}

/** UTF-16 units of a reason that goes into an event: a server that is not ours may say anything */
const REASON = 64

export const httpsLife = (device: VirtualDevice): Life => {
  const { plan, scope, keeper, stopping } = device
  const { scenario, rounds, gauge, emit, targets, load } = scope
  if (targets.https === undefined)
    throw new FleetError('config_invalid', `${plan.id}: no HTTPS door is known`)
  const door = targets.https
  const isOpen = scenario.load.kind === 'open'
  const network = isOpen ? { ...device.network, gate: scope.gates.opening(HOLDS) } : device.network
  /** begun, so far */
  let turns = 0
  const underWay = new Set<Promise<void>>()
  const allTaken = new AbortController()

  const eventOf = (answer: HttpsAnswer, target: string, at: number): FleetEvent => {
    const about = { device: plan.id, at, door: 'https' } as const
    const millis = now() - at
    const { status, reason } = answer
    if (status < 400) return { ...about, kind: 'admitted', target, millis }
    const word = wordOfAnswer(status, reason)
    if (isRefusal(word)) return { ...about, kind: 'refused', reason: word, millis }
    // what somebody else has called it stands behind the word
    const detail = reason === undefined || word === reason ? word : `${word} ${said(reason, REASON)}`
    // an origin that is down has nothing to do with the certificate; that it was asked has
    return { ...about, kind: 'error', detail, ...(isLetIn(status, reason) ? { letIn: millis } : {}) }
  }

  type Turn = {
    readonly number: number
    /** ms since the epoch; `due`: of an open loop */
    readonly asked: number
    readonly due: number | undefined
  }
  /** @returns false: its line was cut before it began, so that it may begin on the next. Never rejects. */
  const request = async ({ number, asked, due }: Turn): Promise<boolean> => {
    const line = device.line()
    const target = scope.path?.replaceAll('{id}', plan.id) ?? `/telemetry/${plan.id}/${number}`
    let at = due ?? asked
    let shown: Shown | undefined
    try {
      const answer = await httpsOnce({
        url: new URL(target, door).href,
        // when its turn to connect has come
        context: () => {
          const began = now()
          if (due === undefined) at = began
          // counted already, when it was late before
          else if (began - asked > LATE && asked - due <= LATE) load.late++
          shown = keeper.show()
          return shown.context
        },
        method: scope.method,
        ...(scope.method === 'GET'
          ? {}
          : {
              headers: { 'content-type': 'application/json' },
              body: messageOf(plan.id, number, asked, scenario.payload),
            }),
        signal: line,
        ...network,
      })
      emit(eventOf(answer, target, at))
      if (answer.reason === 'certificate_expired') keeper.heardExpired()
      const verdict = verdictIn(answer)
      // the desk is not waited for
      if (shown !== undefined && verdict !== undefined) void keeper.tried(shown, verdict)
    } catch (error) {
      if (!line.aborted) device.report('https', error, at, line)
      else if (shown === undefined && !device.line().aborted) return false
      else emit({ kind: 'unanswered', device: plan.id, at, door: 'https' })
    }
    return true
  }
  /** @param due of an open loop; undefined: it begins now. Never rejects. */
  const ask = async (due?: number): Promise<void> => {
    const turn = { number: ++turns, asked: now(), due }
    if (turns >= rounds) allTaken.abort()
    gauge.underWay++
    while (!(await request(turn)));
    gauge.underWay--
  }
  const begin = (due: number): void => {
    const asking: Promise<void> = ask(due).finally(() => underWay.delete(asking))
    underWay.add(asking)
  }

  const more = (): boolean => turns < rounds && !stopping.aborted
  const rest = async (): Promise<void> => {
    await device.wait()
    await device.untilBack()
  }
  return {
    ready: () => more() && !device.isAway(),
    take: (dues) => dues.forEach(begin),
    async run() {
      if (!isOpen) {
        await device.untilBack()
        await closedLoop({ more, take: ask, rest })
      } else {
        await firstOf(stopping, allTaken.signal)
        await Promise.all(underWay)
      }
      await keeper.idle()
    },
    // the next request shows it
    onCandidate: () => {},
    hurry: () => false,
  }
}
