/** Packets that must be read, one of each shape that a version allows. */

import type { Level, Side } from '#gateway/mqtt/packets.ts'

/** `shorter`: bodies that are packets too when cut after so many bytes. */
export type WellFormed = readonly [
  name: string,
  levels: readonly Level[],
  side: Side,
  first: string,
  body: string,
  shorter?: readonly number[],
]

const USER = "26 'k' 'v' 26 'k' 'v'"
/** from a payload's beginning to its end: any of it is a payload */
const from = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, at) => first + at)

export const WELL_FORMED: readonly WellFormed[] = [
  ['CONNECT of 3.1', [3], 'client', '10', "'MQIsdp' 03 02 003c 'a'"],
  ['CONNECT of 3.1 with all of it', [3], 'client', '10', "'MQIsdp' 03 f6 003c 'a' 't' 'w' 'u' 'p'", [21, 24]],
  ['CONNECT of 3.1.1', [4], 'client', '10', "'MQTT' 04 00 0000 'a'"],
  ['CONNECT of 3.1.1 without a name', [4], 'client', '10', "'MQTT' 04 02 ffff ''"],
  ['CONNECT of 3.1.1 with all of it', [4], 'client', '10', "'MQTT' 04 f6 003c 'a' 't' 0000 'u' 0000"],
  ['CONNECT of 5', [5], 'client', '10', "'MQTT' 05 02 003c [ ] 'a'"],
  ['CONNECT of 5 with a password alone', [5], 'client', '10', "'MQTT' 05 42 003c [ ] 'a' 'p'"],
  ['CONNECT of 5 with a byte order mark', [5], 'client', '10', "'MQTT' 05 02 003c [ ] 0004 efbbbf61"],
  [
    'CONNECT of 5 with all of it',
    [5],
    'client',
    '10',
    `'MQTT' 05 ee 003c [ 11 ffffffff 21 0001 27 00000001 22 ffff 19 01 17 00 15 'm' 16 0001ff ${USER} ] 'a'
    [ 18 ffffffff 01 01 02 00000000 03 'c' 08 'r/t' 09 0000 ${USER} ] 't' 0001ff 'u' 0001ff`,
  ],
  ['CONNACK of 3.1, whose first byte says nothing', [3], 'broker', '20', 'ff 00'],
  ['CONNACK', [3, 4], 'broker', '20', '00 05'],
  ['CONNACK with a session', [4], 'broker', '20', '01 00'],
  ['CONNACK of 5', [5], 'broker', '20', '00 00 [ ]'],
  ['CONNACK of 5 that refuses', [5], 'broker', '20', "00 87 [ 1f 'no' ]"],
  [
    'CONNACK of 5 with all of it',
    [5],
    'broker',
    '20',
    `01 00 [ 11 00000000 21 ffff 24 01 25 00 27 ffffffff 12 'id' 22 0000 1f 'r' ${USER} 28 00 29 00 2a 00 13 0000 1a 'i' 1c 's' 15 'm' 16 0000 ]`,
  ],
  ['PUBLISH', [3, 4], 'client', '30', "'t' 77", [3]],
  ['PUBLISH without a payload', [3, 4], 'broker', '31', "'t'"],
  ['PUBLISH with QoS 1', [3, 4], 'client', '32', "'t' 0001 7777", [5, 6]],
  ['PUBLISH with QoS 2, again', [3, 4], 'broker', '3d', "'a/b' ffff 77", [7]],
  ['PUBLISH of 5', [5], 'client', '30', "'t' [ ] 77", [4]],
  ['PUBLISH of 5 by its alias', [5], 'client', '34', "'' 0001 [ 23 ffff ] 77", [8]],
  [
    'PUBLISH of 5 with all of it',
    [5],
    'client',
    '3b',
    `'t' 0001 [ 01 00 02 ffffffff 23 0001 08 'r' 09 000100 ${USER} 03 'c' ] 77`,
    [42],
  ],
  ['a delivery of 5 to two subscriptions', [5], 'broker', '30', "'t' [ 0b 01 0b ffffff7f ] 77", [11]],
  ...(['40', '50', '62', '70'] as const).flatMap((first): WellFormed[] => [
    [`${first}, an acknowledgement`, [3, 4, 5], 'client', first, '0001'],
    [`${first} from a broker`, [3, 4, 5], 'broker', first, 'ffff'],
    [`${first} with a code`, [5], 'client', first, '0001 00', [2]],
    [`${first} without properties`, [5], 'broker', first, '0001 00 [ ]', [2, 3]],
    [`${first} with all of it`, [5], 'client', first, `0001 00 [ 1f 'r' ${USER} ]`, [2, 3]],
  ]),
  ['PUBACK that nobody subscribed to', [5], 'broker', '40', '0001 10', [2]],
  ['PUBREC that refuses', [5], 'broker', '50', '0001 97', [2]],
  ['PUBREL of nothing', [5], 'client', '62', '0001 92', [2]],
  ['PUBREL of 3.1, again', [3], 'client', '6a', '0001'],
  ['SUBSCRIBE', [3, 4], 'client', '82', "0001 'a' 00 '#' 02", [6]],
  ['SUBSCRIBE of 3.1, again', [3], 'client', '8a', "0001 'a' 00"],
  ['SUBSCRIBE of 5', [5], 'client', '82', "0001 [ ] 'a' 2e '$share/g/a' 28", [7]],
  ['SUBSCRIBE of 5 with all of it', [5], 'client', '82', `0001 [ 0b 8001 ${USER} ] 'a' 01`],
  ['SUBACK', [3, 4], 'broker', '90', '0001 00 01 02 80', from(3, 5)],
  ['SUBACK of 5', [5], 'broker', '90', `0001 [ 1f 'r' ${USER} ] 02 a2 87`, [22, 23]],
  ['UNSUBSCRIBE', [3, 4], 'client', 'a2', "0001 'a' '#'", [5]],
  ['UNSUBSCRIBE of 5', [5], 'client', 'a2', `0001 [ ${USER} ] 'a'`],
  ['UNSUBACK', [3, 4], 'broker', 'b0', '0001'],
  ['UNSUBACK of 5', [5], 'broker', 'b0', `0001 [ 1f 'r' ${USER} ] 00 11 87`, [22, 23]],
  ['DISCONNECT', [3, 4, 5], 'client', 'e0', ''],
  ['DISCONNECT with the will', [5], 'client', 'e0', '04', [0]],
  ['DISCONNECT of 5 with all of it', [5], 'client', 'e0', `00 [ 11 00000000 1f 'r' ${USER} ]`, [0, 1]],
  ['DISCONNECT of a broker', [5], 'broker', 'e0', `9d [ 1c 's' 1f 'r' ${USER} ]`, [0, 1]],
]
