/**
 * Whether what a device hears on a topic comes once, and in order: a bit for each of the last 256 numbers of a topic, however many came; and whether
 * what it has published and waits for comes at all. It only counts. A duplicate may be right (QoS 1 sends again what it cannot know to have arrived), a gap too (what was never acknowledged, or went
 * down with a clean session): what is broken says invariants/.
 */

import {
  acknowledged,
  createOutstanding,
  delivered,
  forget,
  type Outstanding,
} from '../invariants/outstanding.ts'
import { said } from '../said.ts'

export type TopicFigures = {
  /** was published, by a device that was to hear it, and never came: at the end */
  lost: number
  /** came again; what is older than the window counts as one, for it came, or is a gap */
  duplicates: number
  /** came after a later one, and for the first time */
  reordered: number
  /** never came, though a later one did: when the window has passed it, or at the end */
  gaps: number
}

export type TopicTracker = {
  readonly figures: Readonly<TopicFigures>
  /** It is to come: from `seq` on so many. */
  awaited(device: string, topic: string, seq: number, count: number): void
  delivered(device: string, topic: string, seq: number): void
  /** What is missing now is a gap, and what has not come is lost. Once is enough; more often counts nothing twice. */
  end(): void
  /** The topics on which something was not as it should be, the worst first. */
  worst(): TopicTrouble[]
}

/** More say no more. */
const MOST_TOPICS = 10
/** UTF-16 units of a name */
const LONGEST = 200

/** The worst of these, first what is worse for whoever listens. */
export const worstOf = (all: readonly TopicTrouble[]): TopicTrouble[] =>
  all
    .toSorted(
      (a, b) =>
        b.lost - a.lost || b.gaps - a.gaps || b.reordered - a.reordered || b.duplicates - a.duplicates,
    )
    .slice(0, MOST_TOPICS)

export type TopicTrouble = Readonly<TopicFigures> & { readonly device: string; readonly topic: string }

export const WINDOW = 256
const WORD = 32

/** `seen`: of the numbers above `highest - WINDOW`, number n at bit n % WINDOW */
type Topic = {
  highest: number
  readonly seen: Int32Array
  readonly outstanding: Outstanding
  readonly figures: TopicFigures
}

const wordOf = (seq: number): number => Math.floor((seq % WINDOW) / WORD)
const bitOf = (seq: number): number => 1 << (seq % WORD)

const has = ({ seen }: Topic, seq: number): boolean => (Number(seen[wordOf(seq)]) & bitOf(seq)) !== 0
const put = ({ seen }: Topic, seq: number): void => {
  const word = wordOf(seq)
  seen[word] = Number(seen[word]) | bitOf(seq)
}
const drop = ({ seen }: Topic, seq: number): void => {
  const word = wordOf(seq)
  seen[word] = Number(seen[word]) & ~bitOf(seq)
}

/** Moves the window up to `seq`. @returns how many that have left it had never come */
const advance = (topic: Topic, seq: number): number => {
  const { highest } = topic
  let gaps = 0
  // of a jump longer than the window, only that many have a bit; those in between were never in it
  const last = Math.min(seq, highest + WINDOW)
  for (let at = highest + 1; at <= last; at++) {
    const leaves = at - WINDOW
    if (leaves >= 1 && !has(topic, leaves)) gaps++
    drop(topic, at)
  }
  topic.highest = seq
  return gaps + Math.max(0, seq - WINDOW - highest)
}

const none = (): TopicFigures => ({ lost: 0, duplicates: 0, reordered: 0, gaps: 0 })
const created = (): Topic => ({
  highest: 0,
  seen: new Int32Array(WINDOW / WORD),
  outstanding: createOutstanding(0),
  figures: none(),
})

export const createTopicTracker = (): TopicTracker => {
  const figures = none()
  // two steps, so that no key has to be made for each message
  const devices = new Map<string, Map<string, Topic>>()

  const topicOf = (device: string, name: string): Topic => {
    let topics = devices.get(device)
    if (topics === undefined) devices.set(device, (topics = new Map()))
    let topic = topics.get(name)
    if (topic === undefined) topics.set(name, (topic = created()))
    return topic
  }

  const count = (topic: Topic, name: keyof TopicFigures, times = 1): void => {
    figures[name] += times
    topic.figures[name] += times
  }

  return {
    figures,
    awaited(device, name, seq, times) {
      const { outstanding } = topicOf(device, name)
      // when it was is nobody's concern here
      for (let next = seq; next < seq + times; next++) acknowledged(outstanding, next, 1)
    },
    delivered(device, name, seq) {
      const topic = topicOf(device, name)
      delivered(topic.outstanding, seq)
      if (seq > topic.highest) count(topic, 'gaps', advance(topic, seq))
      else if (seq <= topic.highest - WINDOW || has(topic, seq)) return count(topic, 'duplicates')
      else count(topic, 'reordered')
      put(topic, seq)
    },
    end() {
      for (const topics of devices.values())
        for (const topic of topics.values()) {
          count(topic, 'lost', forget(topic.outstanding))
          for (let seq = Math.max(1, topic.highest - WINDOW + 1); seq <= topic.highest; seq++) {
            if (has(topic, seq)) continue
            count(topic, 'gaps')
            put(topic, seq)
          }
        }
    },
    worst() {
      const all: TopicTrouble[] = []
      for (const [device, topics] of devices)
        for (const [topic, { figures: own }] of topics)
          if (Object.values(own).some((times) => times > 0))
            all.push({ device, topic: said(topic, LONGEST), ...own })
      return worstOf(all)
    },
  }
}
