/**
 * `mqtt.upstream`: brokers of somebody else behind the door, put together from addresses, their standing, the pool and what is said
 * to a broker of a client. Not the MQTT on a connection: that is the door's.
 */

import { randomBytes } from 'node:crypto'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { isLoopback, type Config } from '#runtime/config.ts'
import { showAddress, type BrokerAddress } from '#runtime/kinds.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Level } from '../packets.ts'
import type { Login, Upstream } from '../upstream.ts'
import { resolveName, watchAddresses, type Resolve } from './addresses.ts'
import { openCredentials } from './credentials.ts'
import type { Failure, Target } from './dial.ts'
import { readsOtherwiseAt } from './engines.ts'
import { createPool, type Address } from './pool.ts'
import { probe } from './probe.ts'
import { localHeader, proxyHeader } from './proxy-header.ts'
import { createStanding, PACE, type Pace } from './standing.ts'

const LEVELS: ReadonlySet<Level> = new Set([3, 4, 5])

/** ms for a health check, and for names to be resolved before the door opens. */
const CHECK = 5 * SECOND
const FIRST_NAMES = 2 * SECOND

/** No device has such an id, and no foreign name either: neither may begin with `@`. */
const HEALTH = '@sallyport-health'

/** A broker of `mqtt.upstream`, with all addresses that its name has. */
type Broker = { readonly label: string; readonly addresses: Map<string, Address> }

export type BrokersOptions = {
  readonly mqtt: Config['mqtt']
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly random: () => number
  readonly resolve?: Resolve
  readonly pace?: Pace
}

/** Errors of TLS carry whole certificates. */
const wordsOf = (error: unknown): string | undefined => (error instanceof Error ? error.message : undefined)

const openCounts = (metrics: Metrics, brokers: readonly Broker[]) => {
  const each = (value: (address: Address) => number) => () =>
    brokers.map(
      ({ label, addresses }) =>
        [{ broker: label }, [...addresses.values()].reduce((sum, one) => sum + value(one), 0)] as const,
    )
  metrics.gauge(
    'sallyport_mqtt_upstream_up',
    'Addresses of a broker that answer, over all processes of the gateway.',
    ['broker'],
    each(({ standing }) => (standing.up === true ? 1 : 0)),
  )
  metrics.gauge(
    'sallyport_mqtt_upstream_connections',
    'Connections to a broker.',
    ['broker'],
    each(({ links }) => links),
  )
  return metrics.counter(
    'sallyport_mqtt_upstream_failures_total',
    'Connections and health checks that a broker, or the way to it, has failed.',
    ['broker', 'why'],
  )
}

/**
 * Opens whether a broker can be reached or not.
 * @throws FleetError `config_invalid`
 */
export const openBrokers = async (o: BrokersOptions): Promise<Upstream> => {
  const { mqtt, log, clock, random } = o
  await using opened = new AsyncDisposableStack()
  const credentials = opened.use(openCredentials(mqtt, log))
  const pool = opened.use(createPool({ timeout: mqtt.upstream_timeout, clock }))
  const brokers: Broker[] = []
  const failures = openCounts(o.metrics, brokers)
  const proxied = mqtt.upstream_proxy_protocol === 'v2'
  const healthId = `${HEALTH}-${randomBytes(6).toString('hex')}`
  const login = (identity: string): Login => ({
    username: mqtt.upstream_username ?? identity,
    password: credentials.password(),
  })

  const openAddress = ({ label }: Broker, { tls, host, port }: BrokerAddress, ip: string): Address => {
    const about = { door: 'mqtt', broker: label, address: ip }
    const count = (why: Failure): void => failures.inc({ broker: label, why })
    const target = (): Target => ({ ip, port, host, context: tls ? credentials.context() : undefined })
    let lastError: unknown
    let lastCode = 0

    const check = async (): Promise<Failure | undefined> => {
      const { failure, code, error } = await probe({
        target: target(),
        timeout: Math.min(CHECK, mqtt.upstream_timeout),
        header: proxied ? localHeader() : undefined,
        clientId: healthId,
        login: login(HEALTH),
      })
      lastError = error
      if (failure !== undefined) count(failure)
      // a User Name of our own that is refused is refused for every device
      if (code !== undefined && code !== lastCode && code !== 0 && mqtt.upstream_username !== undefined)
        log.warn({ ...about, connack: code }, 'a broker refuses mqtt.upstream_username or its password')
      lastCode = code ?? lastCode
      return failure
    }
    const changed = (failure: Failure | undefined): void => {
      if (failure === undefined) log.info(about, 'a broker can be reached')
      else {
        log.warn({ ...about, why: failure, detail: wordsOf(lastError) }, 'a broker cannot be reached')
        pool.abandon(address)
      }
    }
    const address: Address = {
      ip,
      standing: createStanding({ pace: o.pace ?? PACE, clock, random, check, changed }),
      target,
      failed: (failure, { isCertain, error }) => {
        count(failure)
        lastError = error
        if (isCertain) address.standing.failed(failure)
        else address.standing.suspect()
      },
      connecting: 0,
      waiting: new Set(),
      links: 0,
    }
    return address
  }

  const close = (broker: Broker, address: Address): void => {
    address.standing[Symbol.dispose]()
    pool.remove(address)
    broker.addresses.delete(address.ip)
  }

  const known: Promise<void>[] = []
  for (const configured of mqtt.upstream ?? []) {
    const { host, port, tls } = configured
    const label = showAddress(host, port)
    const broker: Broker = { label, addresses: new Map() }
    brokers.push(broker)
    if (!tls && !isLoopback(host))
      log.warn(
        { door: 'mqtt', broker: label },
        'what devices say, and the password if there is one, goes to a broker without encryption: mqtts:// has it',
      )
    const names = watchAddresses({
      host,
      resolve: o.resolve ?? resolveName,
      found: (ips) => {
        for (const ip of ips) {
          if (broker.addresses.has(ip)) continue
          const address = openAddress(broker, configured, ip)
          broker.addresses.set(ip, address)
          pool.add(address)
        }
        for (const address of broker.addresses.values()) if (!ips.includes(address.ip)) close(broker, address)
      },
      failed: (err) => {
        failures.inc({ broker: label, why: 'name' })
        log.warn(
          { door: 'mqtt', broker: label, detail: wordsOf(err) },
          'the name of a broker cannot be resolved',
        )
      },
    })
    opened.use(names)
    opened.defer(() => {
      for (const { standing } of broker.addresses.values()) standing[Symbol.dispose]()
    })
    known.push(names.known)
  }

  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, FIRST_NAMES)
  await Promise.race([Promise.all(known), late.promise])
  clearTimeout(timer)

  const owned = opened.move()
  return {
    levels: LEVELS,
    // mosquitto, EMQX, HiveMQ and VerneMQ do; RabbitMQ and NATS take it for a topic (docs/mqtt-brokers.md)
    sharedSubscriptions: mqtt.upstream_engine === 'mqtt',
    readsOtherwise: readsOtherwiseAt(mqtt.upstream_engine),
    login,
    open: (events, { address, identity }) =>
      pool.open(events, proxied ? proxyHeader({ address, identity }) : undefined),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
