/**
 * The embedded broker of the gateway's own process, as a worker reaches it: over a Unix socket, one connection for each client. Not the other end:
 * ../embedded/broker-socket.ts. Without a pool: there is one socket, and when nobody listens on it the gateway is starting or stopping.
 */

import { connect } from 'node:net'
import { makePreface } from '../embedded/preface.ts'
import type { Level } from '../packets.ts'
import type { Upstream } from '../upstream.ts'
import { ONREAD, SocketLink, type LinkOwner } from './socket-link.ts'

const LEVELS: ReadonlySet<Level> = new Set([3, 4])

/** @param o.path of the socket */
export const openSocketUpstream = (o: { readonly path: string }): Upstream => {
  const links = new Set<SocketLink>()
  const closing = Promise.withResolvers<void>()
  let isClosing = false
  const forget = (link: SocketLink): void => {
    links.delete(link)
    if (isClosing && links.size === 0) closing.resolve()
  }
  const owner: LinkOwner = { cancelled: forget, heard: () => {}, closed: forget }
  return {
    levels: LEVELS,
    sharedSubscriptions: false,
    login: (identity) => ({ username: identity, password: undefined }),
    open: (events, { connections = 1 }) => {
      const link = new SocketLink(events, owner)
      links.add(link)
      const preface = makePreface(connections)
      if (preface !== undefined) link.write(preface)
      const socket = connect({ path: o.path, onread: ONREAD })
      const failed = (): void => {
        forget(link)
        link.fail()
      }
      socket.once('error', failed)
      socket.once('connect', () => {
        socket.off('error', failed)
        if (link.cancelled) socket.destroy()
        else link.attach(socket, owner, undefined)
      })
      return link
    },
    async [Symbol.asyncDispose]() {
      isClosing = true
      for (const link of links) link.end('abort')
      if (links.size > 0) await closing.promise
    },
  }
}
