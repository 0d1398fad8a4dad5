/**
 * Engines that speak MQTT beside something else, and turn topics into names of that: some topics become the name of another one on the way. What has been
 * judged would not be what is done. Not what else such an engine lacks: docs/mqtt-brokers.md.
 */

import type { Config } from '#runtime/config.ts'

type Engine = Config['mqtt']['upstream_engine']

/** Characters of a topic or filter that mean something there. */
const READ_OTHERWISE: Readonly<Record<Engine, RegExp | undefined>> = {
  mqtt: undefined,
  // AMQP 0-9-1 topic exchanges: `/` becomes `.`, `+` becomes `*`, and neither is escaped where it stands already
  rabbitmq: /[.*]/,
  // subjects: the same, `#` becomes `>`, and a space ends one in its protocol
  nats: /[.*> ]/,
}

/** @returns Upstream.readsOtherwise */
export const readsOtherwiseAt = (engine: Engine): ((topic: string) => boolean) | undefined => {
  const characters = READ_OTHERWISE[engine]
  return characters && ((topic) => characters.test(topic))
}
