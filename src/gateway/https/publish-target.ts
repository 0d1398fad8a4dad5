/**
 * What the target of a POST to an application of kind `mqtt-publish` asks for: a topic, and how to publish to it. Read in one way or not at all.
 * Not whether it may: publish-request.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { readPathPattern } from '#policy/access.ts'
import type { Target } from '#policy/target.ts'
import { isTopicName } from '#wire/topics.ts'

export type PublishAsked = { readonly topic: string; readonly qos: 0 | 1 | 2; readonly retain: boolean }

/** What a parameter may say. Written so, and in no other way: nothing is decoded. */
const VALUES = {
  qos: new Map<string, PublishAsked['qos']>([
    ['0', 0],
    ['1', 1],
    ['2', 2],
  ]),
  retain: new Map<string, boolean>([
    ['true', true],
    ['false', false],
  ]),
} as const
const DEFAULTS = { qos: 1, retain: false } as const

const isParameter = (name: string): name is keyof typeof VALUES => Object.hasOwn(VALUES, name)

/** @param path pattern of the application: a literal prefix and `/*` @returns the prefix, decoded, with its last slash; undefined: it is none */
export const prefixOf = (path: string): string | undefined => {
  const parts = readPathPattern(path)?.parts
  return parts?.length === 2 && parts[1] === '' && parts[0].endsWith('/') ? parts[0] : undefined
}

const topicOf = ({ decoded, encodedSlash }: Target, prefix: string | undefined): string | FleetError => {
  if (prefix === undefined || !decoded.startsWith(prefix) || decoded.length === prefix.length)
    return new FleetError('bad_target', 'the path names no topic')
  // some application may let it through, as data; no topic has a slash that is not between two levels
  if (encodedSlash) return new FleetError('bad_target', 'the topic holds an encoded slash')
  const topic = decoded.slice(prefix.length)
  if (topic.startsWith('$'))
    return new FleetError('bad_target', 'topics that begin with $ are not published to')
  return isTopicName(topic)
    ? topic
    : new FleetError('bad_target', 'the path does not name a topic: wildcards, or too long or deep')
}

const optionsOf = (query: string): Omit<PublishAsked, 'topic'> | FleetError => {
  const found: { qos?: PublishAsked['qos']; retain?: boolean } = {}
  for (const each of query === '' ? [] : query.slice(1).split('&')) {
    const [name = '', text, ...more] = each.split('=')
    if (!isParameter(name) || more.length > 0)
      return new FleetError(
        'bad_request',
        'the query may say qos=0, qos=1 or qos=2, and retain=true or retain=false',
      )
    if (found[name] !== undefined)
      return new FleetError('bad_request', `the query says ${name} more than once`)
    const value = VALUES[name].get(text ?? '')
    if (value === undefined)
      return new FleetError('bad_request', `${name} is one of ${[...VALUES[name].keys()].join(', ')}`)
    Object.assign(found, { [name]: value })
  }
  return { ...DEFAULTS, ...found }
}

/** @param prefix of {@link prefixOf} @returns a FleetError `bad_target` or `bad_request`, not thrown */
export const readPublishTarget = (target: Target, prefix: string | undefined): PublishAsked | FleetError => {
  const topic = topicOf(target, prefix)
  if (topic instanceof FleetError) return topic
  const options = optionsOf(target.query)
  return options instanceof FleetError ? options : { topic, ...options }
}
