/** Topic rules of an application (`mqtt.topics`). Not which topics an identity gets by them: #policy/topics.ts. */

import type { TopicRule } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Identity } from '#policy/decision.ts'
import { expandFilter } from '#policy/topics.ts'
import { isOwnTopic, isTopicFilter } from '#wire/topics.ts'
import { bad } from '../reading.ts'

const WHERE = 'mqtt.topics'
const TEMPLATE = /\$\{([^}]*)\}/g
const TAG = 'device.tags.'

/** Those that #policy/topics.ts can fill in for somebody. */
const isTemplate = (name: string): boolean => {
  const id = 'x' as DeviceId
  const tags = name.startsWith(TAG) ? { [name.slice(TAG.length)]: 'x' } : {}
  const somebody: readonly Identity[] = [
    { kind: 'device', id, group: 'x', tags },
    { kind: 'foreign', anchor: 'x', name: 'x' },
  ]
  return somebody.some((who) => expandFilter(`\${${name}}`, who) !== undefined)
}

/** What begins with `$` is open only to who names it, letter by letter; and some of it to nobody. */
const checkDollar = (filter: string): void => {
  if (!filter.startsWith('$') || filter.startsWith('${')) return
  const [first = ''] = filter.split('/', 1)
  if (first.includes('${'))
    throw bad(WHERE, `${filter}: a first level that begins with $ is written out, without templates`)
  if (isOwnTopic(filter))
    throw bad(WHERE, `${filter}: topics below $sallyport are the door's own, and open to no rule`)
  if (first === '$share')
    throw bad(
      WHERE,
      `${filter}: write what stands behind $share/<group>/; a shared subscription is judged by it`,
    )
}

/** @throws FleetError `bad_request` */
export const readTopic = ({ filter, acts }: TopicRule): TopicRule => {
  for (const [whole, name = ''] of filter.matchAll(TEMPLATE))
    if (!isTemplate(name)) throw bad(WHERE, `${filter}: there is no template ${whole}; see docs/access.md`)
  const filled = filter.replace(TEMPLATE, 'x')
  if (filled.includes('${')) throw bad(WHERE, `${filter} holds a template that does not end`)
  if (!isTopicFilter(filled)) throw bad(WHERE, `${filter} is not an MQTT topic filter`)
  checkDollar(filter)
  return { filter, acts: [...new Set(acts)] }
}
