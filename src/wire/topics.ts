/**
 * MQTT topic grammar (MQTT 3.1.1 §4.7, MQTT 5 §4.7): names, filters, matching and covering. Pure text; who may use what is #policy/topics.ts.
 */

/** Longer ones are refused at the door; the specification allows 65,535 bytes. */
export const MAX_TOPIC_BYTES = 1_024
export const MAX_TOPIC_LEVELS = 32

// Control characters may be refused by a receiver [MQTT-1.5.3-2 and its note]; we do, so that no log line or origin is surprised.
const forbidden =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

const sane = (text: string): boolean =>
  text.length > 0 &&
  Buffer.byteLength(text) <= MAX_TOPIC_BYTES &&
  text.split('/').length <= MAX_TOPIC_LEVELS &&
  !forbidden.test(text)

/** A topic that a PUBLISH may carry: no wildcards [MQTT-3.3.2-2]. */
export const isTopicName = (text: string): boolean => sane(text) && !/[+#]/.test(text)

/** A filter that a SUBSCRIBE may carry: `+` alone in its level, `#` alone and last [MQTT-4.7.1-1..3]. */
export const isTopicFilter = (text: string): boolean => {
  if (!sane(text)) return false
  const levels = text.split('/')
  return levels.every(
    (level, at) => !/[+#]/.test(level) || level === '+' || (level === '#' && at === levels.length - 1),
  )
}

/** `$share/<group>/<filter>` (MQTT 5 §4.8.2) → the filter itself; undefined when malformed. Anything else is returned as it is. */
export const stripShare = (filter: string): string | undefined => {
  if (!filter.startsWith('$share/')) return filter
  const [, group, rest] = /^\$share\/([^/+#]+)\/(.+)$/.exec(filter) ?? []
  return group === undefined ? undefined : rest
}

/** The door's own topics: `$sallyport` and what is below. No broker ever sees one, whatever a rule says. */
export const isOwnTopic = (text: string): boolean => text === '$sallyport' || text.startsWith('$sallyport/')

/** {@link filterCovers} of filters and names that have been split into their levels. */
export const levelsCover = (wides: readonly string[], narrows: readonly string[]): boolean => {
  const first = wides[0] as string
  if ((first === '+' || first === '#') && (narrows[0] as string).startsWith('$')) return false
  for (let at = 0; at < wides.length; at += 1) {
    const w = wides[at]
    // `a/#` also matches `a` itself: the parent level is included [MQTT-4.7.1-2, example]
    if (w === '#') return true
    const n = narrows[at]
    if (n === undefined || n === '#') return false
    if (w !== '+' && w !== n) return false
  }
  return wides.length === narrows.length
}

/**
 * Does every topic that `narrow` matches also match `wide`? `narrow` may hold wildcards (a subscription), so this is what a SUBSCRIBE is
 * judged by; a topic name is the filter that matches itself alone, so it is matching too. Wildcards at the first level never match
 * a topic that begins with `$` [MQTT-4.7.2-1].
 */
export const filterCovers = (wide: string, narrow: string): boolean =>
  levelsCover(wide.split('/'), narrow.split('/'))
