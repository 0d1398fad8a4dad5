/** Packets that must be refused: by the framer, or by the reader of their type. Written down by hand, from the specifications. */

import type { Level, Side } from '#gateway/mqtt/packets.ts'

export type Malformed = readonly [levels: readonly Level[], name: string, body: string]
/** `first`: type and flags. */
export type Group = {
  readonly type: string
  readonly side: Side
  readonly first: string
  readonly rows: readonly Malformed[]
}

const ALL = [3, 4, 5] as const
const OLD = [3, 4] as const
const V4 = [4] as const
const V5 = [5] as const

const M4 = "'MQTT' 04"
const M5 = "'MQTT' 05 02 003c"
/** MQTT 5 with a will, up to its properties */
const W5 = "'MQTT' 05 06 003c [ ] 'a'"
const OLD_NAME = "'MQIsdp' 03"

/** Text that is none. */
const NOT_TEXT: readonly (readonly [name: string, field: string])[] = [
  ['NUL', '0003 610061'],
  ['an overlong slash', '0002 c0af'],
  ['an overlong NUL', '0002 c080'],
  ['half of a surrogate pair', '0003 eda080'],
  ['a surrogate pair in six bytes', '0006 eda0bdedb2a1'],
  ['beyond the last code point', '0004 f4908080'],
  ['a byte that follows nothing', '0001 80'],
  ['a character cut off', '0003 f09f92'],
]
const texts = (levels: readonly Level[], what: string, body: (field: string) => string): Malformed[] =>
  NOT_TEXT.map(([name, field]) => [levels, `${what}: ${name}`, body(field)])

/** What can be wrong with any section of properties. @param body with the section in its place */
const sections = (what: string, body: (section: string) => string): Malformed[] => [
  [V5, `${what}: a length beyond the end`, body('ffff7f')],
  [V5, `${what}: a length that is not the shortest`, body('8000')],
  [V5, `${what}: a length in five digits`, body('8080808001')],
  [V5, `${what}: property 0`, body('[ 00 ]')],
  [V5, `${what}: an unknown property`, body('[ 7f 00 ]')],
  [V5, `${what}: an identifier in two bytes`, body('[ 8b 00 01 ]')],
  [V5, `${what}: a user property without a value`, body("[ 26 'k' ]")],
  [V5, `${what}: a user property cut off`, body("[ 26 'k' 0002 61 ]")],
  [V5, `${what}: an identifier alone`, body('[ 26 ]')],
  ...texts(V5, `${what}: a name`, (field) => body(`[ 26 ${field} 'v' ]`)),
  ...texts(V5, `${what}: a value`, (field) => body(`[ 26 'k' ${field} ]`)),
]

/** One property twice where it may stand once. */
const twice = (
  body: (section: string) => string,
  properties: readonly (readonly [string, string])[],
): Malformed[] =>
  properties.map(([name, property]) => [V5, `${name} twice`, body(`[ ${property} ${property} ]`)])

const connect: readonly Malformed[] = [
  [V4, 'no body', ''],
  [V4, 'half a name', '0004 4d51'],
  [V4, 'a name without a level', "'MQTT'"],
  [V4, 'another name', "'mqtt' 04 02 0000 'a'"],
  [V4, 'an empty name', "'' 04 02 0000 'a'"],
  [V4, 'a longer name', "'MQTTx' 04 02 0000 'a'"],
  [V4, 'an inherited name', "'__proto__' 04 02 0000 'a'"],
  [V4, 'another inherited name', "'constructor' 04 02 0000 'a'"],
  [V4, 'a name that is not UTF-8', "0004 4d5154ff 04 02 0000 'a'"],
  [V4, 'no flags', M4],
  [V4, 'no keep-alive', `${M4} 02`],
  [V4, 'half a keep-alive', `${M4} 02 00`],
  [V4, 'no ClientID', `${M4} 02 0000`],
  [V4, 'a ClientID beyond the end', `${M4} 02 0000 0002 61`],
  ...texts(V4, 'ClientID', (field) => `${M4} 02 0000 ${field}`),
  [V4, 'the reserved flag', `${M4} 03 0000 'a'`],
  [V4, 'will QoS 3', `${M4} 1e 0000 'a' 't' ''`],
  [V4, 'will QoS 1 without a will', `${M4} 0a 0000 'a'`],
  [V4, 'will QoS 3 without a will', `${M4} 1a 0000 'a'`],
  [V4, 'will retain without a will', `${M4} 22 0000 'a'`],
  [V4, 'a will without a topic', `${M4} 06 0000 'a'`],
  [V4, 'a will with an empty topic', `${M4} 06 0000 'a' '' ''`],
  [V4, 'a will without a payload', `${M4} 06 0000 'a' 't'`],
  [V4, 'a will payload beyond the end', `${M4} 06 0000 'a' 't' 0009 00`],
  [V4, 'a will on a filter', `${M4} 06 0000 'a' '+' ''`],
  [V4, 'a will on everything', `${M4} 06 0000 'a' 'a/#' ''`],
  [V4, 'a control character in the will topic', `${M4} 06 0000 'a' 0002 610a ''`],
  ...texts(V4, 'will topic', (field) => `${M4} 06 0000 'a' ${field} ''`),
  [V4, 'a password without a username', `${M4} 42 0000 'a' 'p'`],
  [V4, 'no username where one is promised', `${M4} 82 0000 'a'`],
  ...texts(V4, 'username', (field) => `${M4} 82 0000 'a' ${field}`),
  [V4, 'no password where one is promised', `${M4} c2 0000 'a' 'u'`],
  [V4, 'a password beyond the end', `${M4} c2 0000 'a' 'u' 0002 70`],
  [V4, 'bytes left over', `${M4} 02 0000 'a' 00`],
  [V4, 'a username that is not promised', `${M4} 02 0000 'a' 'u'`],
  [V4, 'the properties of MQTT 5', `${M4} 02 0000 [ ] 'a'`],
  [[3], 'no ClientID', `${OLD_NAME} 02 003c`],
  [[3], 'will QoS 3', `${OLD_NAME} 1e 003c 'a' 't' ''`],
  [[3], 'will QoS without a will', `${OLD_NAME} 0a 003c 'a'`],
  [[3], 'half a username', `${OLD_NAME} 82 003c 'a' 0001`],
  [[3], 'half a length', `${OLD_NAME} 82 003c 'a' 00`],
  [[3], 'bytes left over', `${OLD_NAME} 02 003c 'a' 00`],
  [[3], 'a will on a filter', `${OLD_NAME} 06 003c 'a' '#' ''`],
  [V5, 'no properties', M5],
  [V5, 'no ClientID', `${M5} [ ]`],
  [V5, 'the form of 3.1.1', `${M5} 'a'`],
  ...texts(V5, 'ClientID', (field) => `${M5} [ ] ${field}`),
  ...sections('properties', (section) => `${M5} ${section} 'a'`),
  ...sections('will properties', (section) => `${W5} ${section} 't' ''`),
  [V5, 'the reserved flag', "'MQTT' 05 03 003c [ ] 'a'"],
  [V5, 'will QoS 3', "'MQTT' 05 1e 003c [ ] 'a' [ ] 't' ''"],
  [V5, 'will QoS without a will', "'MQTT' 05 0a 003c [ ] 'a'"],
  [V5, 'will retain without a will', "'MQTT' 05 22 003c [ ] 'a'"],
  [V5, 'no will properties', `${W5} 't' ''`],
  [V5, 'no will', W5],
  [V5, 'a will on a filter', `${W5} [ ] '+' ''`],
  [V5, 'a will without a topic', `${W5} [ ] '' ''`],
  [V5, 'a will payload beyond the end', `${W5} [ ] 't' 0009 00`],
  [V5, 'will properties without a will', `${M5} [ ] 'a' [ ]`],
  [V5, 'no username where one is promised', "'MQTT' 05 82 003c [ ] 'a'"],
  [V5, 'no password where one is promised', "'MQTT' 05 42 003c [ ] 'a'"],
  [V5, 'bytes left over', `${M5} [ ] 'a' 00`],
  [V5, 'session expiry in three bytes', `${M5} [ 11 000001 ] 'a'`],
  [V5, 'receive maximum 0', `${M5} [ 21 0000 ] 'a'`],
  [V5, 'receive maximum in one byte', `${M5} [ 21 01 ] 'a'`],
  [V5, 'maximum packet size 0', `${M5} [ 27 00000000 ] 'a'`],
  [V5, 'request problem information 2', `${M5} [ 17 02 ] 'a'`],
  [V5, 'request response information 2', `${M5} [ 19 02 ] 'a'`],
  [V5, 'authentication data without a method', `${M5} [ 16 0000 ] 'a'`],
  [V5, 'a method that is not text', `${M5} [ 15 0001ff ] 'a'`],
  [V5, 'a will delay outside of the will', `${M5} [ 18 00000001 ] 'a'`],
  [V5, 'a server keep-alive from a client', `${M5} [ 13 0001 ] 'a'`],
  [V5, 'an assigned ClientID from a client', `${M5} [ 12 'a' ] 'a'`],
  [V5, 'a reason string', `${M5} [ 1f 'a' ] 'a'`],
  ...twice(
    (section) => `${M5} ${section} 'a'`,
    [
      ['session expiry', '11 00000001'],
      ['receive maximum', '21 0001'],
      ['maximum packet size', '27 00000001'],
      ['topic alias maximum', '22 0001'],
      ['request response information', '19 01'],
      ['request problem information', '17 01'],
      ['authentication method', "15 'm'"],
      ['authentication data', "15 'm' 16 0000 16 0000"],
    ],
  ),
  [V5, 'will payload format 2', `${W5} [ 01 02 ] 't' ''`],
  [V5, 'a will alias', `${W5} [ 23 0001 ] 't' ''`],
  [V5, 'a subscription identifier in a will', `${W5} [ 0b 01 ] 't' ''`],
  [V5, 'a session expiry in a will', `${W5} [ 11 00000001 ] 't' ''`],
  [V5, 'a will that is answered to a filter', `${W5} [ 08 'a/#' ] 't' ''`],
  [V5, 'a will that is answered to nothing', `${W5} [ 08 '' ] 't' ''`],
  ...texts(V5, 'response topic of a will', (field) => `${W5} [ 08 ${field} ] 't' ''`),
  ...twice(
    (section) => `${W5} ${section} 't' ''`,
    [
      ['will delay', '18 00000001'],
      ['will payload format', '01 01'],
      ['will message expiry', '02 00000001'],
      ['will content type', "03 'c'"],
      ['will response topic', "08 'r'"],
      ['will correlation data', '09 0000'],
    ],
  ),
]

const connack: readonly Malformed[] = [
  [ALL, 'no body', ''],
  [ALL, 'flags alone', '00'],
  [OLD, 'three bytes', '00 00 00'],
  [V4, 'a reserved flag', '02 00'],
  [V4, 'a session where none is given', '01 05'],
  [OLD, 'return code 6', '00 06'],
  [OLD, 'return code 255', '00 ff'],
  [V5, 'no properties', '00 00'],
  [V5, 'a reserved flag', '02 00 [ ]'],
  [V5, 'a session where none is given', '01 87 [ ]'],
  [V5, 'a return code of 3.1.1', '00 05 [ ]'],
  [V5, 'the code of a DISCONNECT', '00 8e [ ]'],
  [V5, 'the code of a PUBACK', '00 10 [ ]'],
  [V5, 'code 255', '00 ff [ ]'],
  [V5, 'bytes left over', '00 00 [ ] 00'],
  [V5, 'receive maximum 0', '00 00 [ 21 0000 ]'],
  [V5, 'maximum packet size 0', '00 00 [ 27 00000000 ]'],
  [V5, 'maximum QoS 2', '00 00 [ 24 02 ]'],
  [V5, 'retain available 2', '00 00 [ 25 02 ]'],
  [V5, 'wildcards available 2', '00 00 [ 28 02 ]'],
  [V5, 'identifiers available 2', '00 00 [ 29 02 ]'],
  [V5, 'shared available 255', '00 00 [ 2a ff ]'],
  [V5, 'a topic alias', '00 00 [ 23 0001 ]'],
  [V5, 'a request of the client', '00 00 [ 17 01 ]'],
  ...sections('properties', (section) => `00 00 ${section}`),
  ...twice(
    (section) => `00 00 ${section}`,
    [
      ['session expiry', '11 00000001'],
      ['receive maximum', '21 0001'],
      ['maximum QoS', '24 01'],
      ['retain available', '25 01'],
      ['maximum packet size', '27 00000001'],
      ['assigned ClientID', "12 'a'"],
      ['topic alias maximum', '22 0001'],
      ['reason string', "1f 'r'"],
      ['wildcards available', '28 01'],
      ['identifiers available', '29 01'],
      ['shared available', '2a 01'],
      ['server keep-alive', '13 0001'],
      ['response information', "1a 'i'"],
      ['server reference', "1c 's'"],
    ],
  ),
]

const publish = (side: Side): readonly Malformed[] => [
  [ALL, 'no body', ''],
  [ALL, 'half a length', '00'],
  [ALL, 'a topic beyond the end', '0002 61'],
  [ALL, 'a topic that says it is all of it', 'ffff 61'],
  [OLD, 'an empty topic', '0000 77'],
  [ALL, 'a topic with +', "'a/+' 00"],
  [ALL, 'a topic with #', "'#' 00"],
  [ALL, 'a line break in the topic', '0002 610a 00'],
  ...texts(ALL, 'topic', (field) => `${field} 00`),
  [V5, 'no properties', "'t'"],
  [V5, 'no topic and no alias', "'' [ ] 77"],
  [V5, 'alias 0', "'t' [ 23 0000 ]"],
  [V5, 'alias 0 and no topic', "'' [ 23 0000 ]"],
  [V5, 'an alias in one byte', "'t' [ 23 01 ]"],
  [V5, 'payload format 2', "'t' [ 01 02 ]"],
  [V5, 'message expiry in three bytes', "'t' [ 02 000001 ]"],
  [V5, 'a content type that is not text', "'t' [ 03 0001ff ]"],
  [V5, 'an answer to a filter', "'t' [ 08 'a/+/b' ]"],
  [V5, 'an answer to nothing', "'t' [ 08 '' ]"],
  ...texts(V5, 'response topic', (field) => `'t' [ 08 ${field} ]`),
  [V5, 'correlation data beyond the end', "'t' [ 09 0002ff ]"],
  [V5, 'a session expiry', "'t' [ 11 00000001 ]"],
  [V5, 'a will delay', "'t' [ 18 00000001 ]"],
  [V5, 'a reason string', "'t' [ 1f 'r' ]"],
  ...sections('properties', (section) => `'t' ${section}`),
  ...twice(
    (section) => `'t' ${section}`,
    [
      ['payload format', '01 01'],
      ['message expiry', '02 00000001'],
      ['topic alias', '23 0001'],
      ['response topic', "08 'r'"],
      ['correlation data', '09 0000'],
      ['content type', "03 'c'"],
    ],
  ),
  ...((side === 'client'
    ? [[V5, 'a subscription identifier', "'t' [ 0b 01 ]"]]
    : [
        [V5, 'subscription identifier 0', "'t' [ 0b 00 ]"],
        [V5, 'a subscription identifier that is not the shortest', "'t' [ 0b 8100 ]"],
        [V5, 'a subscription identifier in five digits', "'t' [ 0b 8080808001 ]"],
      ]) as Malformed[]),
]

const publishWithId: readonly Malformed[] = [
  [ALL, 'no packet id', "'t'"],
  [ALL, 'half a packet id', "'t' 00"],
  [ALL, 'packet id 0', "'t' 0000 00"],
  [V5, 'no properties', "'t' 0001"],
  [V5, 'properties beyond the end', "'t' 0001 01"],
]

const CODES_OF_PUBACK = ['00', '10', '80', '83', '87', '90', '91', '97', '99']
const CODES_OF_PUBREL = ['00', '92']
const everyOther = (codes: readonly string[]): string[] =>
  [
    '01',
    '02',
    '04',
    '10',
    '11',
    '18',
    '7f',
    '80',
    '81',
    '82',
    '84',
    '86',
    '8e',
    '8f',
    '92',
    '93',
    '9d',
    'a2',
    'ff',
  ].filter((code) => !codes.includes(code))

const ack = (codes: readonly string[]): readonly Malformed[] => [
  [ALL, 'no body', ''],
  [ALL, 'half a packet id', '00'],
  [ALL, 'packet id 0', '0000'],
  [OLD, 'a byte too many', '0001 00'],
  [V5, 'packet id 0 with a code', '0000 00'],
  ...everyOther(codes).map((code): Malformed => [V5, `code ${code}`, `0001 ${code}`]),
  [V5, 'bytes left over', '0001 00 [ ] 00'],
  [V5, 'a reason that is not text', '0001 00 [ 1f 0001ff ]'],
  [V5, 'a reason twice', "0001 00 [ 1f 'r' 1f 'r' ]"],
  [V5, 'a server reference', "0001 00 [ 1c 's' ]"],
  ...sections('properties', (section) => `0001 00 ${section}`),
]

const subscribe: readonly Malformed[] = [
  [ALL, 'no body', ''],
  [ALL, 'half a packet id', '00'],
  [OLD, 'no filter', '0001'],
  [OLD, 'packet id 0', "0000 'a' 00"],
  [OLD, 'a filter beyond the end', '0001 0002 61'],
  [OLD, 'no QoS', "0001 'a'"],
  [OLD, 'half a second filter', "0001 'a' 00 00"],
  [OLD, 'a second filter without its QoS', "0001 'a' 00 'b'"],
  ...texts(OLD, 'filter', (field) => `0001 ${field} 00`),
  ...['03', '04', '08', '10', '40', '80', 'ff'].map((qos): Malformed => [
    OLD,
    `QoS ${qos}`,
    `0001 'a' ${qos}`,
  ]),
  [V5, 'no properties', '0001'],
  [V5, 'no filter', '0001 [ ]'],
  [V5, 'packet id 0', "0000 [ ] 'a' 00"],
  [V5, 'the form of 3.1.1', "0001 'a' 00"],
  [V5, 'no options', "0001 [ ] 'a'"],
  ...['03', '30', '34', '40', '80', 'c0', 'ff'].map((options): Malformed => [
    V5,
    `options ${options}`,
    `0001 [ ] 'a' ${options}`,
  ]),
  [V5, 'no local on a shared subscription', "0001 [ ] '$share/g/a' 05"],
  [V5, 'no local on the second, which is shared', "0001 [ ] 'a' 05 '$share/g/a' 05"],
  ...texts(V5, 'filter', (field) => `0001 [ ] ${field} 00`),
  [V5, 'identifier 0', "0001 [ 0b 00 ] 'a' 00"],
  [V5, 'an identifier that is not the shortest', "0001 [ 0b 8100 ] 'a' 00"],
  [V5, 'an identifier in five digits', "0001 [ 0b ffffffff01 ] 'a' 00"],
  [V5, 'an identifier cut off', "0001 [ 0b 80 ] 'a' 00"],
  [V5, 'two identifiers', "0001 [ 0b 01 0b 02 ] 'a' 00"],
  [V5, 'a reason string', "0001 [ 1f 'r' ] 'a' 00"],
  ...sections('properties', (section) => `0001 ${section} 'a' 00`),
]

const unsubscribe: readonly Malformed[] = [
  [ALL, 'no body', ''],
  [OLD, 'no filter', '0001'],
  [OLD, 'packet id 0', "0000 'a'"],
  [OLD, 'a filter beyond the end', '0001 0002 61'],
  [OLD, 'the form of SUBSCRIBE', "0001 'a' 01"],
  ...texts(OLD, 'filter', (field) => `0001 ${field}`),
  [V5, 'no properties', '0001'],
  [V5, 'no filter', '0001 [ ]'],
  [V5, 'packet id 0', "0000 [ ] 'a'"],
  [V5, 'the form of 3.1.1', "0001 'a'"],
  ...texts(V5, 'filter', (field) => `0001 [ ] ${field}`),
  [V5, 'a subscription identifier', "0001 [ 0b 01 ] 'a'"],
  ...sections('properties', (section) => `0001 ${section} 'a'`),
]

const suback: readonly Malformed[] = [
  [ALL, 'no body', ''],
  [OLD, 'no code', '0001'],
  [OLD, 'packet id 0', '0000 00'],
  ...['03', '04', '7f', '81', '87', 'ff'].map((code): Malformed => [OLD, `code ${code}`, `0001 00 ${code}`]),
  [V5, 'no properties', '0001'],
  [V5, 'no code', '0001 [ ]'],
  [V5, 'packet id 0', '0000 [ ] 00'],
  ...['03', '10', '11', '81', '90', '99', 'ff'].map((code): Malformed => [
    V5,
    `code ${code}`,
    `0001 [ ] 00 ${code}`,
  ]),
  [V5, 'a subscription identifier', '0001 [ 0b 01 ] 00'],
  [V5, 'a reason twice', "0001 [ 1f 'r' 1f 'r' ] 00"],
  ...sections('properties', (section) => `0001 ${section} 00`),
]

const unsuback: readonly Malformed[] = [
  [ALL, 'no body', ''],
  [ALL, 'packet id 0', '0000'],
  [OLD, 'a code', '0001 00'],
  [V5, 'no properties', '0001'],
  [V5, 'no code', '0001 [ ]'],
  ...['01', '02', '10', '81', '97', '9e', 'ff'].map((code): Malformed => [
    V5,
    `code ${code}`,
    `0001 [ ] ${code}`,
  ]),
  ...sections('properties', (section) => `0001 ${section} 00`),
]

const disconnect = (side: Side): readonly Malformed[] => [
  ...((side === 'client' ? [[OLD, 'a body', '00']] : []) as Malformed[]),
  ...['01', '02', '10', '18', '7f', '84', '85', '86', '88', '8a', '8c', '91', '92', 'ff'].map(
    (code): Malformed => [V5, `code ${code}`, code],
  ),
  [V5, 'bytes left over', '00 [ ] 00'],
  [V5, 'a reason twice', "00 [ 1f 'r' 1f 'r' ]"],
  [V5, 'a reason that is not text', '00 [ 1f 0001ff ]'],
  [V5, 'a receive maximum', '00 [ 21 0001 ]'],
  ...sections('properties', (section) => `00 ${section}`),
  ...(side === 'client'
    ? [
        ...['87', '89', '8b', '8d', '8e', '8f', '9a', '9c', '9d', 'a0', 'a2'].map((code): Malformed => [
          V5,
          `${code}, which a server says`,
          code,
        ]),
        [V5, 'a server reference from a client', "00 [ 1c 's' ]"] as Malformed,
        [V5, 'session expiry in three bytes', '00 [ 11 000001 ]'] as Malformed,
        [V5, 'session expiry twice', '00 [ 11 00000001 11 00000001 ]'] as Malformed,
      ]
    : [[V5, 'a session expiry from a server', '8b [ 11 00000001 ]'] as Malformed]),
]

const both = (type: string, first: string, rows: (side: Side) => readonly Malformed[]): Group[] =>
  (['client', 'broker'] as const).map((side) => ({ type, side, first, rows: rows(side) }))

/** Types and flags that nobody may send in this state, however well formed what follows is. */
const openings = (side: Side, levels: readonly Level[], firsts: readonly string[]): readonly Group[] =>
  firsts.map((first) => ({
    type: `first byte ${first}`,
    side,
    first,
    rows: [[levels, 'whatever follows', '0001']],
  }))

export const MALFORMED: readonly Group[] = [
  { type: 'CONNECT', side: 'client', first: '10', rows: connect },
  { type: 'CONNACK', side: 'broker', first: '20', rows: connack },
  ...both('PUBLISH', '30', publish),
  ...both('PUBLISH', '32', () => publishWithId),
  ...both('PUBLISH', '3c', () => publishWithId),
  ...both('PUBACK', '40', () => ack(CODES_OF_PUBACK)),
  ...both('PUBREC', '50', () => ack(CODES_OF_PUBACK)),
  ...both('PUBREL', '62', () => ack(CODES_OF_PUBREL)),
  ...both('PUBCOMP', '70', () => ack(CODES_OF_PUBREL)),
  { type: 'SUBSCRIBE', side: 'client', first: '82', rows: subscribe },
  { type: 'SUBACK', side: 'broker', first: '90', rows: suback },
  { type: 'UNSUBSCRIBE', side: 'client', first: 'a2', rows: unsubscribe },
  { type: 'UNSUBACK', side: 'broker', first: 'b0', rows: unsuback },
  ...both('DISCONNECT', 'e0', disconnect),
  // reserved types, reserved flags, QoS 3, DUP with QoS 0, AUTH of who has no method
  ...(['client', 'broker'] as const).flatMap((side) => [
    ...openings(side, ALL, ['00', '0f', '36', '37', '3e', '3f', '38', '39', 'f0', 'f1', 'ff']),
    ...openings(side, ALL, [
      '41',
      '42',
      '48',
      '51',
      '52',
      '60',
      '61',
      '63',
      '71',
      '72',
      'c1',
      'd1',
      'e1',
      'e2',
    ]),
    ...openings(side, [4, 5], ['6a']),
  ]),
  ...openings('client', ALL, ['11', '12', '20', '80', '81', '83', '90', 'a0', 'a1', 'b0', 'd0']),
  ...openings('client', [4, 5], ['8a', 'aa']),
  ...openings('broker', ALL, ['10', '21', '82', '91', '92', 'a2', 'b1', 'c0']),
  ...openings('broker', OLD, ['e0']),
]
