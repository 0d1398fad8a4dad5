/**
 * What is happening, counted for the view: from the lines of the desks' logs (every passage is one line) and from what the simulated
 * devices say of themselves. Not the metrics of record: those are each desk's own listener.
 */

import type { FleetEvent } from '#device-sim/index.ts'

const RECENT = 6
/** seconds that the little graph goes back */
const HISTORY = 24

export type Recent = {
  readonly at: number
  readonly who: string
  readonly what: string
  readonly good: boolean
}

export type Figures = {
  readonly devices: { readonly enrolled: number; readonly wanted: number }
  readonly https: { readonly admitted: number; readonly refused: Readonly<Record<string, number>> }
  /** of the simulated devices */
  readonly mqtt: {
    readonly connected: number
    readonly published: number
    readonly delivered: number
    readonly refused: Readonly<Record<string, number>>
  }
  /** HTTPS admissions in each of the last seconds, oldest first */
  readonly history: readonly number[]
  /** newest first */
  readonly recent: readonly Recent[]
}

export type Tally = {
  /** one line of a desk's log */
  line(text: string, now: number): void
  fleet(event: FleetEvent): void
  /** once a second */
  tick(): void
  figures(): Figures
}

type LogLine = {
  readonly desk?: string
  readonly msg?: string
  readonly door?: string
  readonly reason?: string
  readonly act?: string
  readonly method?: string
  readonly path?: string
  readonly topic?: string
  readonly client_id?: string
  readonly identity?: string
  readonly address?: string
  readonly route?: string
  readonly status?: number
  readonly device_id?: string
}

const parse = (text: string): LogLine | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

const DEVICE_VERB = /^\/v1\/devices\/:id\/(suspend|resume|retire|revoke)$/
const PAST: Readonly<Record<string, string>> = {
  suspend: 'suspended',
  resume: 'resumed',
  retire: 'retired',
  revoke: 'revoked',
}
const ENROLLING = /^\/(v1\/(enroll|renew)|\.well-known\/est\/.*(simpleenroll|simplereenroll))$/

const asked = ({ door, act, method, path, topic }: LogLine): string =>
  door === 'https' ? `${method ?? ''} ${path ?? ''}` : `${act ?? ''}${topic === undefined ? '' : ` ${topic}`}`

/** @param isOurs the simulated devices: their passages are counted, and only their refusals are worth a line */
export const createTally = (wanted: number, isOurs: (name: string) => boolean): Tally => {
  const refused: Record<string, Record<string, number>> = { https: {}, mqtt: {} }
  const enrolled = new Set<string>()
  const connected = new Set<string>()
  const history: number[] = Array.from({ length: HISTORY }, () => 0)
  let recent: Recent[] = []
  let admitted = 0
  let thisSecond = 0
  let published = 0
  let delivered = 0

  const note = (entry: Recent): void => {
    recent = [entry, ...recent].slice(0, RECENT)
  }

  const passage = (line: LogLine, now: number): void => {
    const door = line.door ?? ''
    const good = line.reason === 'allowed'
    if (good && door === 'https') {
      admitted += 1
      thisSecond += 1
    }
    const counts = refused[door]
    if (!good && counts !== undefined) counts[line.reason ?? ''] = (counts[line.reason ?? ''] ?? 0) + 1
    const who = line.identity ?? line.client_id ?? line.address ?? 'somebody'
    if (good && isOurs(who)) return
    note({ at: now, who, what: `${door} ${asked(line)}: ${good ? 'admitted' : line.reason}`, good })
  }

  const enrolment = (line: LogLine, now: number): void => {
    const verb = DEVICE_VERB.exec(line.route ?? '')?.[1]
    const who = line.device_id ?? 'a device'
    if (verb !== undefined && line.status === 200)
      note({ at: now, who, what: `${PAST[verb]} by an operator`, good: verb === 'resume' })
    if (!ENROLLING.test(line.route ?? '') || isOurs(who)) return
    const good = (line.status ?? 500) < 300
    note({ at: now, who, what: good ? 'enrolled' : `enrolment refused: ${line.reason ?? line.status}`, good })
  }

  const follow = (event: FleetEvent): void => {
    if (event.kind === 'enrolled') enrolled.add(event.device)
    else if (event.kind === 'published') published += 1
    else if (event.kind === 'delivered') delivered += 1
    else if (event.kind === 'cut' || event.kind === 'left') connected.delete(event.device)
    else if (event.kind === 'admitted' && event.door === 'mqtt') connected.add(event.device)
    else if (event.kind === 'error' && event.door === 'mqtt') connected.delete(event.device)
  }

  return {
    line(text, now) {
      const line = parse(text)
      if (line?.msg === 'admitted' || line?.msg === 'refused') passage(line, now)
      else if (line?.desk === 'enroll' && line.msg === 'request') enrolment(line, now)
    },
    fleet: follow,
    tick() {
      history.push(thisSecond)
      history.shift()
      thisSecond = 0
    },
    figures: () => ({
      devices: { enrolled: enrolled.size, wanted },
      https: { admitted, refused: { ...refused['https'] } },
      mqtt: { connected: connected.size, published, delivered, refused: { ...refused['mqtt'] } },
      history: [...history],
      recent,
    }),
  }
}
