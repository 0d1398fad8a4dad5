/**
 * The TLS side of a door: which options its server is made with, which context a server name gets, and when to take them anew.
 * Not the options themselves: #runtime/tls.ts. Not who is trusted: anchors.ts.
 */

import type { SecureContext, TlsOptions } from 'node:tls'

export type Contexts = {
  /**
   * For createServer. Its default context is for clients without SNI, and for unknown names: it trusts nobody, unless the door
   * was given a hostname for them. `SNICallback` is set.
   */
  readonly server: TlsOptions
  contextFor(serverName: string): SecureContext | undefined
  /** `apply` gets new options for server.setSecureContext() when the server's certificate or the default's anchors have changed */
  onReload(apply: (options: TlsOptions) => void): void
}

/**
 * @param o.contextFor by lower-case hostname without trailing dot
 * @param o.options server options with this default context's anchors, made anew at each call
 * @param o.problem told of what could not be reloaded: the old context serves on, and the other doors reload
 */
export const createContexts = (o: {
  readonly contextFor: (hostname: string) => SecureContext | undefined
  readonly options: () => TlsOptions
  readonly problem: (error: unknown) => void
}): Contexts & { reload(): void } => {
  const listeners: ((options: TlsOptions) => void)[] = []
  // Node gives the name as it came ("B.TEST", "b.test."), and 'servername' too: #runtime/peer.ts folds it the same way
  const contextFor = (serverName: string): SecureContext | undefined =>
    o.contextFor(serverName.toLowerCase().replace(/\.$/, ''))
  return {
    server: {
      ...o.options(),
      SNICallback: (serverName, done) => {
        let context: SecureContext | undefined
        try {
          context = contextFor(serverName)
        } catch (error) {
          done(error as Error)
          return
        }
        done(null, context)
      },
    },
    contextFor,
    onReload: (apply) => {
      listeners.push(apply)
    },
    reload: () => {
      for (const apply of listeners) {
        try {
          apply(o.options())
        } catch (error) {
          o.problem(error)
        }
      }
    },
  }
}
