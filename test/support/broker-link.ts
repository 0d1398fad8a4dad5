/** A client right at a broker, without the door: an MQTT client's stream on a {@link Link}. Not for the door's tests. */

import { Duplex } from 'node:stream'
import type { Ending, Link, Upstream } from '#gateway/mqtt/upstream.ts'
import { mqttClient, type MqttClient } from './mqtt-client.ts'

export type LinkClient = MqttClient & {
  readonly link: Link
  /** `how` the door would end it; comes back when the broker has done with it */
  end(how: Ending): Promise<void>
}

/** @param connections that its identity may have at once */
export const linkClient = (
  upstream: Pick<Upstream, 'open'>,
  clientId = 'lamp-1',
  connections = 1,
): LinkClient => {
  const over = Promise.withResolvers<void>()
  let proceed: (() => void) | undefined
  const stream = new Duplex({
    read: () => link.resume(),
    write: (bytes: Buffer, _encoding, done) => {
      if (link.write(bytes)) done()
      else proceed = done
    },
    destroy: (error, done) => {
      link.end('abort')
      done(error)
    },
  })
  const link = upstream.open(
    {
      data: (bytes) => {
        if (!stream.push(bytes)) link.pause()
      },
      drain: () => {
        const done = proceed
        proceed = undefined
        done?.()
      },
      closed: () => {
        stream.push(null)
        over.resolve()
      },
    },
    { clientId, identity: clientId, level: 4, address: undefined, connections },
  )
  return Object.assign(mqttClient(stream), {
    link,
    end: (how: Ending) => {
      link.end(how)
      return over.promise
    },
  })
}
