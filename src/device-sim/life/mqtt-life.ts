/** How a simulated device lives over MQTT: connected, listening to its own topics and publishing to them; back after a cut. */

import { mqttConnect, type MqttLink } from '../client/mqtt-connect.ts'
import type { VirtualDevice } from './virtual-device.ts'
import { pause } from '../waiting.ts'

/** ms for the last messages to arrive before a device says goodbye by itself */
const LAST_DELIVERIES = 5_000

/** A payload of ours, or undefined: anybody may have published it. */
const sentAt = (payload: Buffer): number | undefined => {
  try {
    const value: unknown = JSON.parse(payload.toString())
    if (typeof value !== 'object' || value === null || !('sent' in value)) return undefined
    return typeof value.sent === 'number' ? value.sent : undefined
  } catch {
    return undefined
  }
}

/** Ends with the run's signal, or after its turns: a publication, or a refusal, is a turn. */
export const mqttLife = async (device: VirtualDevice): Promise<void> => {
  const { plan, scope } = device
  const { signal, meter, rounds, emit } = scope
  const topic = `devices/${plan.id}/telemetry`
  let turn = 0
  let outstanding = 0
  let onDelivery: (() => void) | undefined

  const onMessage = (from: string, payload: Buffer): void => {
    const sent = sentAt(payload)
    if (from !== topic || sent === undefined) return
    outstanding--
    emit({ kind: 'delivered', device: plan.id, topic, millis: performance.now() - sent })
    onDelivery?.()
  }

  const connected = async (): Promise<MqttLink | undefined> => {
    const began = performance.now()
    const outcome = await mqttConnect({
      url: scope.targets.mqtts,
      context: device.context(),
      clientId: plan.id,
      onMessage,
      signal,
      meter,
    })
    if (!outcome.accepted) {
      if (outcome.code === undefined) emit({ kind: 'cut', device: plan.id })
      else {
        emit({ kind: 'refused', device: plan.id, door: 'mqtt', reason: `connack_${outcome.code}` })
        await device.tried(false)
      }
      return undefined
    }
    emit({ kind: 'admitted', device: plan.id, door: 'mqtt', millis: performance.now() - began })
    await device.tried(true)
    return outcome.link
  }

  /** Publishes until it is cut, the run ends, or its turns are over. */
  const talk = async (link: MqttLink): Promise<void> => {
    outstanding = 0
    const granted = await link.subscribe(`devices/${plan.id}/#`)
    if (granted !== 'cut' && granted > 2)
      emit({ kind: 'refused', device: plan.id, door: 'mqtt', reason: `suback_${granted}` })
    while (turn < rounds && link.isOpen() && !signal.aborted) {
      turn++
      outstanding++
      const sent = performance.now()
      if ((await link.publish(topic, JSON.stringify({ device: plan.id, turn, sent }))) === 'cut') break
      emit({ kind: 'published', device: plan.id, topic })
      if (turn < rounds) await device.wait(link.ended)
      await device.renewIfDue()
      // a new certificate is tried at once, by coming in again with it
      if (device.trying()) break
    }
    const allHere = new AbortController()
    onDelivery = () => {
      if (outstanding <= 0) allHere.abort()
    }
    const leaves = turn >= rounds || device.trying()
    if (leaves && outstanding > 0) await pause(LAST_DELIVERIES, signal, link.ended, allHere.signal)
    onDelivery = undefined
  }

  while (turn < rounds && !signal.aborted) {
    await device.renewIfDue()
    try {
      const link = await connected()
      if (link === undefined) turn++
      else {
        await talk(link)
        if (!link.isOpen() && !signal.aborted) emit({ kind: 'cut', device: plan.id })
        await link.close()
      }
    } catch (error) {
      turn++
      device.report('mqtt', error)
    }
    if (turn < rounds) await device.wait()
  }
}
