/**
 * The devices of one part, from gathering to the last goodbye: who has come, when each begins, what is done to all of them. Not what one
 * device does (https-life.ts, mqtt-life.ts), and not who decides when it ends (run.ts).
 */

import { SECOND } from '#fleet/clock.ts'
import { now } from '../clock.ts'
import { planFaults, withLinkFaults } from '../faults/own-faults.ts'
import { openLoop, type LoadCounts, type OpenLoop, type Taker } from '../load/open.ts'
import { createRandom } from '../random.ts'
import { pause } from '../waiting.ts'
import type { Agenda } from './agenda.ts'
import { gather } from './gather.ts'
import { httpsLife } from './https-life.ts'
import type { Holding } from './identity-keeper.ts'
import type { Life } from './life.ts'
import { mqttLife } from './mqtt-life.ts'
import { inTurn, type DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'
import { createDevice, type Ends, type VirtualDevice } from './virtual-device.ts'

export type Fleet = {
  /** @param stop called when the scenario's duration is over. @throws what one device cannot go on for; the others are ended then */
  run(stop: () => void): Promise<void>
  stop(): void
  /** what is under way is given up; who is saying goodbye may */
  hurry(): void
  /** at once */
  end(): void
}

type Member = {
  readonly plan: DevicePlan
  readonly ends: Ends
  device?: VirtualDevice
  life?: Life
}

/** ms between two looks at who is due for renewal: not each device by a timer of its own */
const SWEEP = SECOND
/** of a device that nobody answers, when the run waits for it: three minutes or so */
const ATTEMPTS = 25

export const createFleet = (o: {
  readonly scope: RunScope
  readonly seed: string
  readonly plans: readonly DevicePlan[]
  readonly agenda: Agenda
  readonly counts: LoadCounts
  ready(): Promise<number>
}): Fleet => {
  const { scope, seed, agenda } = o
  const { scenario, gauge, rounds } = scope
  const members = new Map<number, Member>(
    o.plans.map((plan) => [
      plan.number,
      { plan, ends: { stop: new AbortController(), end: new AbortController() } },
    ]),
  )
  const ailing = withLinkFaults(scenario, seed)
  const waitsForAll = scenario.duration !== undefined

  const endOne = ({ ends }: Member): void => {
    ends.stop.abort()
    ends.end.abort()
  }
  /** resolves when it is to stop: nothing else ends the wait for a start that does not come */
  const stopped = Promise.withResolvers<undefined>()
  const end = (): void => {
    for (const member of members.values()) endOne(member)
    stopped.resolve(undefined)
  }
  const stop = (): void => {
    for (const { ends } of members.values()) ends.stop.abort()
    stopped.resolve(undefined)
  }
  const hurry = (): void => {
    for (const member of members.values()) if (member.life?.hurry() !== true) endOne(member)
  }

  const identityOf = ({ plan, ends }: Member): Promise<Holding | undefined> =>
    gather(plan, scope, {
      // an attempt is a turn: a bounded run ends also when nobody answers
      attempts: waitsForAll ? ATTEMPTS : rounds,
      stopping: ends.stop.signal,
      signal: ends.end.signal,
    })

  const live = async (member: Member, holding: Holding): Promise<void> => {
    const { plan, ends } = member
    if (ends.stop.signal.aborted) return
    const device = createDevice(plan, scope, holding, {
      ends,
      mayHaveFault: ailing.has(plan.number),
      onCandidate: () => member.life?.onCandidate(),
    })
    const life = plan.door === 'mqtt' ? mqttLife(device) : httpsLife(device)
    member.device = device
    member.life = life
    gauge.devices++
    try {
      await life.run()
    } finally {
      gauge.devices--
      delete member.life
      delete member.device
    }
  }

  const sweep = (): void => {
    for (const { device } of members.values())
      if (device !== undefined && !device.isAway() && !device.stopping.aborted)
        void device.keeper.renewIfDue()
  }
  /** In an open loop; a device that has not come, or has gone, takes no turn. */
  const openTurns = (startsAt: number, endsAt: number): OpenLoop | undefined => {
    const { load, devices } = scenario
    if (load.kind === 'closed') return undefined
    const takers = inTurn([...members.values()], seed).map((member): Taker => ({
      ready: () => member.life?.ready() === true,
      take: (dues) => member.life?.take(dues),
    }))
    const [first] = members.keys()
    const random = createRandom(seed, `arrivals ${first}`)
    return openLoop({
      takers,
      rate: (load.rate * members.size) / devices,
      arrivals: load.arrivals,
      phase: random.next(),
      random: random.next,
      startsAt,
      endsAt,
      clock: now,
      counts: o.counts,
      underWay: () => gauge.underWay,
    })
  }

  /** One that cannot go on for a reason that is ours ends the run, and the others with it. */
  const each = async <T>(work: (member: Member) => Promise<T>): Promise<readonly T[]> => {
    const settled = await Promise.allSettled(
      [...members.values()].map(async (member) => {
        try {
          return await work(member)
        } catch (error) {
          end()
          throw error
        }
      }),
    )
    const failure = settled.find((one) => one.status === 'rejected')
    if (failure !== undefined) throw failure.reason
    return settled.map((one) => (one as PromiseFulfilledResult<T>).value)
  }

  const timed = (startsAt: number, over: () => void): DisposableStack => {
    const stack = new DisposableStack()
    const { duration } = scenario
    planFaults({ scenario, seed, startsAt, agenda, device: (number) => members.get(number)?.device })
    const endsAt = startsAt + (duration ?? Infinity)
    const turns = stack.use(openTurns(startsAt, endsAt))
    if (duration !== undefined)
      agenda.add(endsAt, () => {
        turns?.finish()
        over()
      })
    const sweeping = setInterval(sweep, SWEEP)
    stack.defer(() => clearInterval(sweeping))
    return stack
  }

  return {
    async run(over) {
      if (!waitsForAll) {
        const startsAt = now()
        using _ = timed(startsAt, over)
        await each(async (member) => {
          await pause(member.plan.start, member.ends.stop.signal)
          const holding = await identityOf(member)
          if (holding !== undefined) await live(member, holding)
        })
        return
      }
      const holdings = await each(async (member) => ({ member, holding: await identityOf(member) }))
      const startsAt = await Promise.race([o.ready(), stopped.promise])
      if (startsAt === undefined) return
      using _ = timed(startsAt, over)
      const byMember = new Map(holdings.map(({ member, holding }) => [member, holding]))
      await each(async (member) => {
        const holding = byMember.get(member)
        await pause(Math.max(0, startsAt + member.plan.start - now()), member.ends.stop.signal)
        if (holding !== undefined) await live(member, holding)
      })
    },
    stop,
    hurry,
    end,
  }
}
