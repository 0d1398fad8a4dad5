/**
 * Names to addresses, remembered for a moment: thousands of devices in one process ask for the same name, and each question costs a trip
 * through the thread pool. Not a cache of failures, nor of which address answered.
 */

import { lookup, type LookupAddress } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { SECOND, type Clock } from '#fleet/clock.ts'

type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/** ms an answer is good for */
const LIFE = 5 * SECOND
/** names; a fleet has a handful of targets */
const MOST = 64

const system: Resolve = (host) =>
  new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
  })

/** For net.connect. @param clock ms, of any epoch */
export const createLookup = (clock: Clock, resolve: Resolve = system): LookupFunction => {
  const known = new Map<string, { readonly until: number; readonly answer: ReturnType<Resolve> }>()
  const ask = (host: string): ReturnType<Resolve> => {
    const entry = known.get(host)
    if (entry !== undefined && clock() < entry.until) return entry.answer
    if (known.size >= MOST) known.clear()
    const answer = resolve(host)
    known.set(host, { until: clock() + LIFE, answer })
    answer.catch(() => known.delete(host))
    return answer
  }
  const answer: (...question: Parameters<LookupFunction>) => Promise<void> = async (host, o, callback) => {
    const wanted = o.family === 'IPv4' ? 4 : o.family === 'IPv6' ? 6 : (o.family ?? 0)
    let addresses: LookupAddress[]
    try {
      addresses = (await ask(host)).filter(({ family }) => wanted === 0 || family === wanted)
    } catch (error) {
      return callback(error as NodeJS.ErrnoException, '')
    }
    const [first] = addresses
    if (first === undefined) callback(new Error(`no address of ${host}`), '')
    else if (o.all === true) callback(null, addresses)
    else callback(null, first.address, first.family)
  }
  return (...question) => void answer(...question)
}

export const rememberedLookup = createLookup(() => performance.now())
