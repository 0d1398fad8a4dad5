/** How a simulated device lives over HTTPS: one request, one handshake, one answer. When the next comes is the load's. */

import { FleetError } from '#fleet/errors.ts'
import { httpsOnce, type HttpsAnswer } from '../client/https-once.ts'
import { now } from '../clock.ts'
import type { FleetEvent } from '../events.ts'
import { closedLoop } from '../load/closed.ts'
import { messageOf } from '../load/payload.ts'
import { firstOf } from '../waiting.ts'
import type { Life } from './life.ts'
import { isDenial } from './trouble.ts'
import type { VirtualDevice } from './virtual-device.ts'

/** octets of a reason that goes into an event: a server that is not ours may say anything */
const REASON = 64

export const httpsLife = (device: VirtualDevice): Life => {
  const { plan, scope, keeper, stopping } = device
  const { scenario, rounds, gauge, emit, targets } = scope
  if (targets.https === undefined)
    throw new FleetError('config_invalid', `${plan.id}: no HTTPS door is known`)
  const door = targets.https
  /** begun, so far */
  let turns = 0
  const underWay = new Set<Promise<void>>()
  const allTaken = new AbortController()

  const eventOf = (answer: HttpsAnswer, target: string, at: number): FleetEvent => {
    const about = { device: plan.id, at, door: 'https' } as const
    const millis = now() - at
    const reason = (answer.reason ?? `http_${answer.status}`).slice(0, REASON)
    if (answer.status < 400) return { ...about, kind: 'admitted', target, millis }
    // an origin that is down has nothing to do with the certificate
    return isDenial(reason)
      ? { ...about, kind: 'refused', reason, millis }
      : { ...about, kind: 'error', detail: reason }
  }

  /** @param due of an open loop; undefined: it begins now. Never rejects. */
  const ask = async (due?: number): Promise<void> => {
    const turn = ++turns
    if (turns >= rounds) allTaken.abort()
    if (due === undefined) await keeper.renewIfDue()
    const shown = keeper.show()
    const line = device.line()
    const target = scope.path?.replaceAll('{id}', plan.id) ?? `/telemetry/${plan.id}/${turn}`
    const at = due ?? now()
    gauge.underWay++
    try {
      const answer = await httpsOnce({
        url: new URL(target, door).href,
        context: shown.context,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: messageOf(plan.id, turn, now(), scenario.payload),
        signal: line,
        ...device.network,
      })
      const event = eventOf(answer, target, at)
      if (!line.aborted) emit(event)
      if (event.kind === 'refused' && event.reason === 'certificate_expired') keeper.heardExpired()
      if (event.kind !== 'error') await keeper.tried(shown, event.kind === 'admitted')
    } catch (error) {
      device.report('https', error, at, line)
    } finally {
      gauge.underWay--
    }
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
      if (scenario.load.kind === 'closed') {
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
