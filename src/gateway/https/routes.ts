/** What an application says of its origin, read once per version of it, with the door's own settings where it says nothing. */

import { HTTPS_DEFAULTS, type Application, type Forward, type ForwardOn } from '#fleet/access.ts'
import { tellsChain } from './certificate-headers.ts'
import { originAddress, type OriginAddress } from './origins.ts'
import { prefixOf } from './publish-target.ts'

/** `prefix`: of the path, decoded, with its last slash; the topic follows. undefined: it cannot be read, and nothing can be published */
export type Publishing = { readonly prefix: string | undefined; readonly retain: boolean }

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
  /** undefined: it is a way to its origin */
  readonly publishing: Publishing | undefined
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
      publishing:
        https.kind === 'mqtt-publish'
          ? { prefix: prefixOf(https.path), retain: https.retain ?? HTTPS_DEFAULTS.retain }
          : undefined,
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
