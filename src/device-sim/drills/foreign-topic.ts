/** A device reaches for another's topics, for everybody's, and for the broker's own. */

import { said } from '../said.ts'
import type { Drill } from './drill.ts'

/** of what was heard: messages, and characters of one */
const MOST_HEARD = 10
const MOST_SHOWN = 100

export const foreignTopic: Drill = {
  name: 'foreign_topic',
  needs: [],
  async run(stage) {
    const { expectations, ledger } = stage
    const [attacker, victim] = await Promise.all([stage.enroll('reacher'), stage.enroll('reached')])
    const theirs = `devices/${victim.deviceId}`
    const heard: string[] = []
    let messages = 0
    const last = Promise.withResolvers<void>()
    await using listening = await stage.connects('foreign_topic.victim', {
      context: stage.contextOf(victim),
      clientId: victim.deviceId,
      onMessage(topic, payload) {
        ledger.delivered()
        const text = payload.subarray(0, MOST_SHOWN).toString()
        messages++
        if (heard.length < MOST_HEARD) heard.push(said(`${topic} ${text}`, MOST_SHOWN))
        if (text === 'last') last.resolve()
      },
    })
    if (listening === undefined) return
    await listening.subscribe(`${theirs}/#`)
    await listening.subscribe('fleet/broadcast/#')

    const own = { context: stage.contextOf(attacker), clientId: attacker.deviceId }
    await using ears = await stage.connects('foreign_topic.attacker', own)
    if (ears === undefined) return
    for (const filter of [
      `${theirs}/#`,
      `${theirs}/telemetry`,
      'devices/+/telemetry',
      '#',
      '+/+/telemetry',
      '$SYS/#',
    ])
      await stage.refusesTopic('foreign_topic.subscribe', ears, filter)
    await ears.close()

    for (const topic of [`${theirs}/command`, 'fleet/broadcast/all', '$SYS/broker', 'devices']) {
      await using mouth = await stage.connects('foreign_topic.attacker', own)
      if (mouth === undefined) return
      // MQTT 3.1.1 has no answer that refuses a PUBLISH: the connection ends [MQTT-3.3.5-2]
      const outcome = await mouth.publish(topic, 'forged')
      if (outcome === 'cut') ledger.refused('mqtt', 'topic_denied')
      expectations.check('foreign_topic.publish', outcome === 'cut', `${topic} was acknowledged`)
    }
    // the cut was for the topic: a server that fell over would have cut it too
    await using still = await stage.connects('foreign_topic.attacker', own)
    if (still === undefined) return
    // its own message comes after anything that was let through before it
    await stage.publishes('foreign_topic.own', listening, `${theirs}/telemetry`, 'last')
    await Promise.race([last.promise, listening.closed])
    expectations.check(
      'foreign_topic.nothing_heard',
      messages === 1,
      `the victim heard ${messages} messages: ${heard.join('; ')}`,
    )
  },
}
