/**
 * A broker behind the door that says what the test tells it, in memory: links whose packets the test reads and answers one by one. By default
 * it accepts every CONNECT. Not a broker, and no socket.
 */

import { parser, type Packet } from 'mqtt-packet'
import type { Level } from '#gateway/mqtt/packets.ts'
import type { Ending, Link, LinkAbout, LinkEvents, Upstream } from '#gateway/mqtt/upstream.ts'

export type ScriptedLink = {
  readonly about: LinkAbout
  /** what the door has written, packet by packet */
  readonly said: Packet[]
  /** the same, hex */
  readonly hex: string[]
  /** how the door ended it */
  readonly endings: Ending[]
  paused: boolean
  /** has it told the door that it has finished with the client? */
  over: boolean
  /** to the door; hex with blanks, or bytes */
  say(bytes: string | Uint8Array): void
  /** it has finished with the client */
  close(): void
}

export type ScriptedUpstream = Upstream & {
  readonly links: ScriptedLink[]
  /** What is said to a CONNECT; undefined: nothing. Default: it is accepted. */
  answer: (link: ScriptedLink, level: Level) => string | undefined
  /** false: the test says when a link that the door has ended is closed */
  closes: boolean
}

const ACCEPTED: Readonly<Record<Level, string>> = { 3: '20020000', 4: '20020000', 5: '2003000000' }

const asBuffer = (bytes: string | Uint8Array): Buffer =>
  typeof bytes === 'string' ? Buffer.from(bytes.replaceAll(' ', ''), 'hex') : Buffer.from(bytes)

/** Answers CONNECT, and closes what has been ended, in a turn of its own. */
export const scriptedUpstream = (levels: readonly Level[] = [3, 4, 5]): ScriptedUpstream => {
  const upstream: ScriptedUpstream = {
    links: [],
    levels: new Set(levels),
    sharedSubscriptions: true,
    answer: (_, level) => ACCEPTED[level],
    closes: true,
    login: (identity) => ({ username: identity, password: undefined }),
    open: (events, about) => openLink(upstream, events, about),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  return upstream
}

const openLink = (upstream: ScriptedUpstream, events: LinkEvents, about: LinkAbout): Link => {
  const reader = parser({ protocolVersion: about.level })
  const link: ScriptedLink = {
    about,
    said: [],
    hex: [],
    endings: [],
    paused: false,
    over: false,
    say: (bytes) => {
      if (!link.over) events.data(asBuffer(bytes))
    },
    close: () => {
      if (link.over) return
      link.over = true
      events.closed()
    },
  }
  upstream.links.push(link)
  reader.on('packet', (packet: Packet) => {
    link.said.push(packet)
    if (packet.cmd !== 'connect') return
    setImmediate(() => {
      const answer = upstream.answer(link, about.level)
      if (answer !== undefined) link.say(answer)
    })
  })
  return {
    write: (bytes) => {
      link.hex.push(Buffer.from(bytes).toString('hex'))
      reader.parse(Buffer.from(bytes))
      return true
    },
    pause: () => {
      link.paused = true
    },
    resume: () => {
      link.paused = false
    },
    end: (how) => {
      link.endings.push(how)
      if (upstream.closes) setImmediate(link.close)
    },
  }
}
