/**
 * The properties of CONNECT and of the will in it (MQTT 5 §3.1.2.11, §3.1.3.2): those that mean something here, and those that go on. Not the packet:
 * ./connect-packet.ts.
 */

import {
  isTheirs,
  numberOf,
  said,
  textOf,
  userProperty,
  writeProperties,
  type Property,
} from './properties.ts'
import type { PropertyName } from './property-table.ts'

/** Nothing before MQTT 5. */
export type WillV5 = {
  /** a topic name */
  readonly responseTopic?: string
  /** those that go on, a whole section */
  readonly properties?: Buffer
}

/** What only MQTT 5 says. Aliases of the broker end here, so the Topic Alias Maximum does not go on. */
export type ConnectV5 = {
  /** seconds; 0: the session ends with the connection; 0xffffffff: never */
  readonly sessionExpiry: number
  readonly receiveMaximum: number
  /** bytes; undefined: no limit */
  readonly maximumPacketSize: number | undefined
  readonly requestProblemInformation: boolean
  /** its user properties, without ours */
  readonly properties: readonly Property[]
  /** it wants to be authenticated beside its certificate, which nobody here does */
  readonly authenticationMethod?: string
}

const has = (list: readonly Property[], name: Property['name']): boolean =>
  list.some((property) => property.name === name)

/** [MQTT-3.1.2-30] (§3.1.2.11.10) */
export const lacksMethod = (list: readonly Property[]): boolean =>
  has(list, 'authenticationData') && !has(list, 'authenticationMethod')

/** @param list undefined before MQTT 5 */
export const willV5 = (list: readonly Property[] | undefined): WillV5 => {
  if (list === undefined) return {}
  const responseTopic = textOf(list, 'responseTopic')
  return {
    properties: writeProperties(list.filter(isTheirs)),
    ...(responseTopic === undefined ? {} : { responseTopic }),
  }
}

/** What is said when nothing is (§3.1.2.11). */
const DEFAULT = { sessionExpiry: 0, receiveMaximum: 65_535, requestProblemInformation: 1 }

export const v5Of = (list: readonly Property[]): ConnectV5 => {
  const authenticationMethod = textOf(list, 'authenticationMethod')
  return {
    sessionExpiry: numberOf(list, 'sessionExpiryInterval') ?? DEFAULT.sessionExpiry,
    receiveMaximum: numberOf(list, 'receiveMaximum') ?? DEFAULT.receiveMaximum,
    maximumPacketSize: numberOf(list, 'maximumPacketSize'),
    requestProblemInformation:
      (numberOf(list, 'requestProblemInformation') ?? DEFAULT.requestProblemInformation) === 1,
    properties: list.filter((property) => property.name === 'userProperty' && isTheirs(property)),
    ...(authenticationMethod === undefined ? {} : { authenticationMethod }),
  }
}

/** All of it is left to the defaults. */
export const NOTHING_SAID = v5Of([])

const IDENTITY = 'sallyport-identity'

const unlessDefault = (name: PropertyName, value: number, unsaid: number): readonly Property[] =>
  said(name, value === unsaid ? undefined : value)

/** For the broker. @param identity said as the user property `sallyport-identity` */
export const writeV5 = (v5: ConnectV5, identity: string | undefined): Buffer =>
  writeProperties([
    ...unlessDefault('sessionExpiryInterval', v5.sessionExpiry, DEFAULT.sessionExpiry),
    ...unlessDefault('receiveMaximum', v5.receiveMaximum, DEFAULT.receiveMaximum),
    ...said('maximumPacketSize', v5.maximumPacketSize),
    ...unlessDefault(
      'requestProblemInformation',
      Number(v5.requestProblemInformation),
      DEFAULT.requestProblemInformation,
    ),
    ...v5.properties,
    ...(identity === undefined ? [] : [userProperty(IDENTITY, identity)]),
  ])
