/**
 * Whether what a device hears on a topic comes once, and in order: a bit for each of the last 256 numbers of a topic, however many came. It only
 * counts. A duplicate may be right (QoS 1 sends again what it cannot know to have arrived), a gap too (what was never acknowledged, or went
 * down with a clean session): what is broken says invariants/.
 */

export type TopicFigures = {
  /** came again; what is older than the window counts as one, for it came, or is a gap */
  duplicates: number
  /** came after a later one, and for the first time */
  reordered: number
  /** never came, though a later one did: when the window has passed it, or at the end */
  gaps: number
}

export type TopicTracker = {
  readonly figures: Readonly<TopicFigures>
  delivered(device: string, topic: string, seq: number): void
  /** What is missing now is a gap. Once is enough; more often counts nothing twice. */
  end(): void
}

export const WINDOW = 256
const WORD = 32

/** `seen`: of the numbers above `highest - WINDOW`, number n at bit n % WINDOW */
type Topic = { highest: number; readonly seen: Int32Array }

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

export const createTopicTracker = (): TopicTracker => {
  const figures: TopicFigures = { duplicates: 0, reordered: 0, gaps: 0 }
  // two steps, so that no key has to be made for each message
  const devices = new Map<string, Map<string, Topic>>()

  const topicOf = (device: string, name: string): Topic => {
    let topics = devices.get(device)
    if (topics === undefined) devices.set(device, (topics = new Map()))
    let topic = topics.get(name)
    if (topic === undefined) topics.set(name, (topic = { highest: 0, seen: new Int32Array(WINDOW / WORD) }))
    return topic
  }

  return {
    figures,
    delivered(device, name, seq) {
      const topic = topicOf(device, name)
      if (seq > topic.highest) figures.gaps += advance(topic, seq)
      else if (seq <= topic.highest - WINDOW || has(topic, seq)) {
        figures.duplicates++
        return
      } else figures.reordered++
      put(topic, seq)
    },
    end() {
      for (const topics of devices.values())
        for (const topic of topics.values())
          for (let seq = Math.max(1, topic.highest - WINDOW + 1); seq <= topic.highest; seq++) {
            if (has(topic, seq)) continue
            figures.gaps++
            put(topic, seq)
          }
    },
  }
}
