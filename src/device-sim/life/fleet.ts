/**
 * The devices of one part, from gathering to the last goodbye: who has come, when each begins, what is done to all of them. Not what one
 * device does (https-life.ts, mqtt-life.ts), and not who decides when it ends (run.ts).
 */

import { SECOND } from '#fleet/clock.ts'
import type { FleetError } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import { planFaults, withLinkFaults, type PlannedFaults } from '../faults/own-faults.ts'
import { mostUnderWay, openLoop, type OpenLoop, type Taker } from '../load/open.ts'
import { createRandom } from '../random.ts'
import { pause } from '../waiting.ts'
import type { Agenda } from './agenda.ts'
import { gather } from './gather.ts'
import { httpsLife } from './https-life.ts'
import type { Holding } from './identity-keeper.ts'
import type { Life } from './life.ts'
import { mqttLife } from './mqtt-life.ts'
import { inTurn, numbersOf, type DevicePlan } from './plan.ts'
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
/** ms between two looks at what is due; longer where nothing is measured from when a turn was due, for a burst costs little more than a message */
const TICK = 1
const TICK_OF_BURSTS = 5
/** of a device that nobody answers, when the run waits for it: three minutes or so */
const ATTEMPTS = 25

export const createFleet = (o: {
  readonly scope: RunScope
  readonly seed: string
  readonly plans: readonly DevicePlan[]
  readonly agenda: Agenda
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
  let turns: OpenLoop | undefined
  let faults: PlannedFaults | undefined
  const stop = (): void => {
    // what was due until now; nothing is from now on
    turns?.finish()
    for (const { ends } of members.values()) ends.stop.abort()
    stopped.resolve(undefined)
  }
  const hurry = (): void => {
    for (const member of members.values()) if (member.life?.hurry() !== true) endOne(member)
  }

  /** of devices whose files cannot be read: the others go on */
  const unreadable: FleetError[] = []
  const checkReadable = (): void => {
    const [first] = unreadable
    if (first !== undefined && unreadable.length === members.size) throw first
  }
  const identityOf = ({ plan, ends }: Member): Promise<Holding | undefined> =>
    gather(plan, scope, {
      onUnreadable: (error) => void unreadable.push(error),
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
    faults?.came(device)
    if (!device.isAway()) void device.keeper.renewIfDue()
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
    const { load, devices, doors, mqtt, payload } = scenario
    if (load.kind === 'closed') return undefined
    const takers = inTurn(numbersOf(devices), seed).map((number): Taker | undefined => {
      const member = members.get(number)
      return (
        member && {
          ready: () => member.life?.ready() === true,
          take: (dues) => member.life?.take(dues),
        }
      )
    })
    return openLoop({
      takers,
      rate: load.rate,
      arrivals: load.arrivals,
      random: createRandom(seed, 'arrivals').next,
      startsAt,
      endsAt,
      tick: mqtt.qos === 0 && doors.https === 0 ? TICK_OF_BURSTS : TICK,
      most: mostUnderWay(payload),
      clock: now,
      counts: scope.load,
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
    faults = planFaults({
      scenario,
      seed,
      startsAt,
      agenda,
      device: (number) => members.get(number)?.device,
      onStruck: scope.onStruck,
    })
    const endsAt = startsAt + (duration ?? Infinity)
    turns = stack.use(openTurns(startsAt, endsAt))
    if (duration !== undefined) agenda.add(endsAt, over)
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
        return checkReadable()
      }
      const holdings = await each(async (member) => ({ member, holding: await identityOf(member) }))
      checkReadable()
      const startsAt = await Promise.race([o.ready(), stopped.promise])
      if (startsAt === undefined) return
      using _ = timed(startsAt, over)
      const byMember = new Map(holdings.map(({ member, holding }) => [member, holding]))
      await each(async (member) => {
        const holding = byMember.get(member)
        await pause(startsAt + member.plan.start - now(), member.ends.stop.signal)
        if (holding !== undefined) await live(member, holding)
      })
    },
    stop,
    hurry,
    end,
  }
}
