/** What an application says of its origin, read once per version of it, with the door's own settings where it says nothing. */

import { HTTPS_DEFAULTS, type Application, type Forward, type ForwardOn } from '#fleet/access.ts'
import { tellsChain } from './certificate-headers.ts'
import { originAddress, type OriginAddress } from './origins.ts'

export type Route = {
  readonly addresses: readonly OriginAddress[]
  /** ms that the origin may be silent */
  readonly timeout: number
  /** octets */
  readonly bodyLimit: number
  readonly websocket: boolean
  readonly forms: readonly Forward[]
  /** does one of them hold the chain? */
  readonly tellsChain: boolean
  readonly forwardOn: ForwardOn
}

/** @returns a function of an application that is reachable over HTTPS */
export const createRoutes = (defaults: {
  readonly timeout: number
  readonly bodyLimit: number
}): ((application: Application) => Route) => {
  const known = new WeakMap<Application, Route>()

  const read = ({ name, https }: Application): Route => {
    if (https === undefined) throw new Error(`application "${name}" is not reachable over HTTPS`)
    const urls = typeof https.origin === 'string' ? [https.origin] : https.origin
    const forms = https.forward ?? HTTPS_DEFAULTS.forward
    return {
      addresses: urls.map((url) => originAddress(url, https.originCa)),
      timeout: https.timeout ?? defaults.timeout,
      bodyLimit: https.bodyLimit ?? defaults.bodyLimit,
      websocket: https.websocket ?? HTTPS_DEFAULTS.websocket,
      forms,
      tellsChain: tellsChain(forms),
      forwardOn: https.forwardOn ?? HTTPS_DEFAULTS.forwardOn,
    }
  }

  return (application) => {
    const found = known.get(application)
    if (found !== undefined) return found
    const route = read(application)
    known.set(application, route)
    return route
  }
}
