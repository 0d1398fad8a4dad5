/** A claim certificate at the doors: it gets devices their certificates over MQTT and does nothing else; and what is refused on the way there. */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { enrollByMqtt, renewByMqtt } from '../client/enroll-mqtt.ts'
import type { Enrolled } from '../client/identity.ts'
import { createImpostor } from '../client/impostor.ts'
import { newKey } from '../client/key.ts'
import { wordOf } from '../client/refusal.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import type { Stage } from './stage.ts'

/** A device has 10 requests a minute, nonces among them: this many renewals are more. */
const MORE_THAN_ENOUGH = 8

/** With the same key it is answered the same certificate each time: nothing piles up. */
const untilLimited = async (stage: Stage, enrolled: Enrolled): Promise<void> => {
  const { targets, signal, meter } = stage
  const words: string[] = []
  for (let turn = 0; turn < MORE_THAN_ENOUGH && words.at(-1) !== 'rate_limited'; turn++) {
    const asking = { url: targets.mqtts, server: targets.enroll, enrolled, signal, meter }
    words.push(await renewByMqtt(asking).then(() => 'a certificate', wordOf))
  }
  const held = words.at(-1) === 'rate_limited'
  stage.expectations.check('mqtt_enrolment.rate_limited', held, `expected rate_limited, got ${words.join()}`)
}

/**
 * The door takes 60 enrolments a minute from one address, and a fleet beside this drill may need them all: who is told to wait, waits. What
 * is asked for is refused for its own reason after that.
 */
const enrolled = async (
  stage: Stage,
  o: Parameters<typeof enrollByMqtt>[0],
): ReturnType<typeof enrollByMqtt> => {
  for (;;) {
    try {
      return await enrollByMqtt(o)
    } catch (error) {
      if (!(error instanceof FleetError) || error.code !== 'rate_limited' || stage.signal.aborted) throw error
      await pause((error.retryAfter ?? 1) * SECOND, stage.signal)
    }
  }
}

export const mqttEnrolment: Drill = {
  name: 'mqtt_enrolment',
  needs: ['staging'],
  async run(stage) {
    const { staging, targets, rootPem, signal, meter, ledger } = stage
    if (staging === undefined) return
    const { identity: claim, group } = await staging.claim({ certificates: 2 })
    const via = { url: targets.mqtts, server: targets.enroll, rootPem, signal, meter }
    const id = `drill-${stage.run}-by-mqtt`
    const keyPem = await newKey('P-256')
    const device = await enrolled(stage, { ...via, id, claim, group, keyPem })
    ledger.enrolled()
    await stage.admits('mqtt_enrolment.admitted', id, { context: stage.contextOf(device) })

    const another = await newKey('P-256')
    await stage.denies(
      'mqtt_enrolment.taken_id',
      'device_exists',
      enrolled(stage, { ...via, id, claim, group, keyPem: another }),
    )
    await stage.denies(
      'mqtt_enrolment.same_key_another_id',
      'device_id_mismatch',
      enrolled(stage, { ...via, id: `${id}-2`, claim, group, keyPem }),
    )
    await stage.denies(
      'mqtt_enrolment.another_group',
      'credential_not_allowed',
      enrolled(stage, { ...via, id: `${id}-3`, claim, group: 'default', keyPem: another }),
    )
    const ca = await createImpostor(`sim nobody's factory ${stage.run}`, stage.clock())
    const strange = await ca.issue({ commonName: 'claim' })
    await stage.denies(
      'mqtt_enrolment.another_ca',
      'forbidden',
      enrolled(stage, { ...via, id: `${id}-4`, claim: strange, group, keyPem: another }),
    )

    const context = stage.contextOf({ ...device, ...claim })
    await stage.refuses('mqtt_enrolment.https', 'certificate_untrusted', { context })
    await using link = await stage.connects('mqtt_enrolment.claim', { context, clientId: id })
    if (link !== undefined)
      for (const filter of ['#', `devices/${id}/#`, '$sallyport/#'])
        await stage.refusesTopic('mqtt_enrolment.topics', link, filter)
    await link?.close()
    await untilLimited(stage, device)
  },
}
