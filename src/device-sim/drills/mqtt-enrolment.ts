/** A claim certificate at the doors: it gets devices their certificates over MQTT and does nothing else; and what is refused on the way there. */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { makeCsrDer } from '../client/csr.ts'
import { enrollByMqtt, proofOf, renewByMqtt, type Proof, type Proving } from '../client/enroll-mqtt.ts'
import type { Enrolled, Identity } from '../client/identity.ts'
import { createImpostor } from '../client/impostor.ts'
import { newKey } from '../client/key.ts'
import { wordOf } from '../client/refusal.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import type { Stage } from './stage.ts'

/** A device has 10 requests a minute, nonces among them: this many renewals, of two each, are more. */
const MORE_THAN_ENOUGH = 7

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

type Prove = (proving: Proving) => Proof

/** A proof by another key, over something else, with a nonce that is another's: what makes a gateway in between unable to ask for itself. */
const forgeries = (o: {
  readonly other: Identity
  /** that was given to `other`'s certificate */
  readonly foreignNonce: string
  readonly otherCsr: Buffer
}): Readonly<Record<string, Prove>> => ({
  another_key: (proving) => proofOf({ ...proving, identity: o.other }),
  another_csr: (proving) => proofOf({ ...proving, csr: o.otherCsr }),
  another_group: (proving) => proofOf({ ...proving, group: 'default' }),
  no_signature: ({ nonce }) => ({ nonce, signature: '' }),
  foreign_nonce: (proving) => proofOf({ ...proving, nonce: o.foreignNonce }),
  // its time stands behind its 16 letters: later by a bit
  longer_nonce(proving) {
    const octets = Buffer.from(proving.nonce, 'base64url')
    octets.writeUInt8(octets.readUInt8(20) ^ 1, 20)
    return proofOf({ ...proving, nonce: octets.toString('base64url') })
  },
})

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
    const { identity: other, group: otherGroup } = await staging.claim({ certificates: 1 })
    let foreignNonce = ''
    const asOther = { ...via, id: `${id}-5`, claim: other, group: otherGroup, keyPem: another }
    // an answer that is not waited for: the nonce is all that is wanted of it
    const spoilt = (proving: Proving): Proof => {
      foreignNonce = proving.nonce
      return { nonce: proving.nonce, signature: '' }
    }
    await stage.denies(
      'mqtt_enrolment.proof.other',
      'token_invalid',
      enrolled(stage, { ...asOther, prove: spoilt }),
    )
    const forged = forgeries({ other, foreignNonce, otherCsr: makeCsrDer(another, `${id}-6`) })
    for (const [what, prove] of Object.entries(forged))
      await stage.denies(
        `mqtt_enrolment.proof.${what}`,
        // the second: where no signature at all is malformed rather than wrong
        what === 'no_signature' ? ['token_invalid', 'bad_request'] : 'token_invalid',
        enrolled(stage, { ...via, id: `${id}-5`, claim, group, keyPem: another, prove }),
      )

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
    // that group does take claim certificates, of another factory
    await stage.denies(
      'mqtt_enrolment.foreign_group',
      'certificate_untrusted',
      enrolled(stage, { ...via, id: `${id}-4`, claim, group: otherGroup, keyPem: another }),
    )
    const ca = await createImpostor(`sim nobody's factory ${stage.run}`, stage.clock())
    const strange = await ca.issue({ commonName: 'claim' })
    const stranger = { context: stage.contextOf({ ...device, ...strange }), clientId: id }
    await stage.refusesConnect('mqtt_enrolment.another_ca', 'certificate_untrusted', stranger)

    const context = stage.contextOf({ ...device, ...claim })
    await stage.refuses('mqtt_enrolment.https', 'certificate_untrusted', { context })
    await using link = await stage.connects('mqtt_enrolment.claim', { context, clientId: id })
    if (link !== undefined)
      for (const filter of ['#', `devices/${id}/#`, '$sallyport/#'])
        await stage.refusesTopic('mqtt_enrolment.topics', link, filter)
    // PUBLISH has no answer that refuses it: the connection ends, and the next one stands
    const outcome = await link?.publish(`devices/${id}/x`, 'x')
    if (outcome === 'cut') ledger.refused('mqtt', 'topic_denied')
    stage.expectations.check(
      'mqtt_enrolment.publish',
      outcome === 'cut',
      `expected the end of the connection, got ${outcome ?? 'none'}`,
    )
    await using still = await stage.connects('mqtt_enrolment.claim', { context, clientId: id })
    await still?.close()

    // none of what was refused has used up what the claim certificate is good for, and no more is to be had of it
    const second = { ...via, id: `${id}-7`, claim, group, keyPem: another }
    await enrolled(stage, second)
    ledger.enrolled()
    await stage.denies(
      'mqtt_enrolment.quota',
      'quota_exceeded',
      enrolled(stage, { ...second, id: `${id}-8`, keyPem: await newKey('P-256') }),
    )
    await untilLimited(stage, device)
  },
}
