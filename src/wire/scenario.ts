/**
 * A scenario file: what a simulated fleet is asked to do, as people write it in YAML. `sim schema scenario` prints it, editors check by it, and the
 * reader (#device-sim/scenario/read.ts) walks it: what stands here is what is held, with its defaults. What a schema cannot say (a fault after
 * the end, weights that are all zero) is the reader's. Not what a run is given: that is the `Scenario` of #device-sim.
 */

import Type, { type Static } from 'typebox'
import { KEY_KINDS, type KeyKind } from '#fleet/certificate.ts'
import { GIVEN_REVOCATION_REASONS } from '#fleet/revocation-reason.ts'
import { closed, literals } from './parts.ts'
import { duration, flag, offset, oneOf, share, span, weights } from './scenario-parts.ts'

const MIB = 1_048_576

/** Groups whose key share a device can send (RFC 8446 §4.2.7): what most devices have, and the post-quantum hybrid. */
const KEY_AGREEMENTS = ['X25519', 'X25519MLKEM768'] as const
export type KeyAgreement = (typeof KEY_AGREEMENTS)[number]

const LOADS = {
  closed: Type.Optional(
    Type.Object(
      {
        pace: duration('how long a device waits after an answer before it asks again', '0s', '1d', '4s'),
        jitter: Type.Optional(share('each wait is pace × (1 ± jitter)', 0.5)),
      },
      { ...closed, description: 'a slow server is asked less' },
    ),
  ),
  open: Type.Optional(
    Type.Object(
      {
        rate: Type.Number({
          description: 'turns a second of the whole fleet: requests, and messages published',
          exclusiveMinimum: 0,
          maximum: 1_000_000,
        }),
        arrivals: Type.Optional(
          literals(['constant', 'poisson'], {
            description: 'evenly, or as independent clients come',
            default: 'poisson',
          }),
        ),
      },
      {
        ...closed,
        description: 'turns are due whatever the answers take; latency counts from when one was due',
      },
    ),
  ),
}

/** What may befall devices, by the key that says it. */
const FAULTS = {
  link: Type.Optional(
    Type.Object(
      {
        delay: duration('each way', '0s', '1m', '0s'),
        jitter: duration('the delay is ± this', '0s', '1m', '0s'),
        loss: Type.Optional(share('of segments; each is sent again after a timeout, as TCP does', 0)),
        half_open: flag('nothing passes either way, and no end is seen', false),
        slow_handshake: duration(
          'between two small pieces of what is sent until the handshake is done',
          '0s',
          '1m',
          '0s',
        ),
      },
      { ...closed, description: 'their network is bad' },
    ),
  ),
  offline: Type.Optional(
    Type.Object({}, { ...closed, description: 'they are away altogether, and come back at its end' }),
  ),
  reconnect: Type.Optional(
    Type.Object(
      {},
      { ...closed, description: 'every connection is dropped without a word, and made again at once' },
    ),
  ),
  renew: Type.Optional(
    Type.Object(
      { new_key: flag('with a new key', false) },
      { ...closed, description: 'they ask for a new certificate now, whatever its dates say' },
    ),
  ),
  clone: Type.Optional(
    Type.Object(
      {
        rival: Type.Optional(
          literals(['renewal', 'connection'], {
            description: 'the copy renews, or connects beside the original',
            default: 'renewal',
          }),
        ),
      },
      { ...closed, description: 'key and certificate are copied, and used from elsewhere' },
    ),
  ),
  revoke: Type.Optional(
    Type.Object(
      {
        reason: Type.Optional(
          literals(GIVEN_REVOCATION_REASONS, {
            description: 'RFC 5280 §5.3.1',
            default: 'unspecified',
          }),
        ),
      },
      { ...closed, description: 'the operator revokes them; they go on trying' },
    ),
  ),
  suspend: Type.Optional(
    Type.Object({}, { ...closed, description: 'the operator suspends them, and resumes them at its end' }),
  ),
  rotate: Type.Optional(
    Type.Object(
      {
        step: literals(['distribute', 'activate', 'retire'], {
          description:
            'of the issuing CA that was prepared last (`sallyport ca rotate prepare`); retire: the one before it',
        }),
        force: flag('although too few devices have fetched it, or still use what is retired', false),
      },
      { ...closed, description: 'the operator rotates the issuing CA; of no devices in particular' },
    ),
  ),
}
export type FaultKey = keyof typeof FAULTS

const TimelineEntry = Type.Object(
  {
    at: span('after the start of the load', '0s', '366d'),
    for: duration('of link, offline and suspend; missing: to the end of the run', '1ms', '366d'),
    share: Type.Optional(
      Type.Number({
        description: 'of the fleet, chosen by the seed; at least one device',
        exclusiveMinimum: 0,
        maximum: 1,
        default: 1,
      }),
    ),
    ...FAULTS,
  },
  { ...closed, ...oneOf(Object.keys(FAULTS)) },
)
export type TimelineEntry = Static<typeof TimelineEntry>

const KEYS: Readonly<Record<KeyKind, number>> = { 'P-256': 6, 'P-384': 1, 'P-521': 1, Ed25519: 1, RSA: 1 }

export const ScenarioFileSchema = Type.Object(
  {
    api_version: Type.Literal(1, { description: 'of this format' }),
    summary: Type.Optional(
      Type.String({ description: 'one sentence: what it is for', maxLength: 300, default: '' }),
    ),
    devices: Type.Optional(
      Type.Integer({ description: 'how many', minimum: 1, maximum: 100_000, default: 25 }),
    ),
    ramp: duration('time over which they come, evenly; never longer than duration', '0s', '1d', '5s'),
    duration: duration(
      'time of load, the ramp included; enrolment comes before it. Missing: until it is ended',
      '100ms',
      '366d',
    ),
    load: Type.Optional(
      Type.Object(LOADS, {
        ...closed,
        ...oneOf(Object.keys(LOADS)),
        description: 'how often they act',
        default: { closed: {} },
      }),
    ),
    payload: Type.Optional(
      Type.Integer({
        description: "octets of a request's body and of a message; never fewer than their own fields take",
        minimum: 0,
        maximum: MIB,
        default: 128,
      }),
    ),
    doors: weights('by which they come in', ['https', 'mqtt'], { https: 1, mqtt: 1 }),
    enroll: weights('by which they enrol', ['rest', 'est', 'mqtt'], { rest: 1, est: 0, mqtt: 0 }),
    keys: weights('kinds of their keys', KEY_KINDS, KEYS),
    key_agreement: Type.Optional(
      literals(KEY_AGREEMENTS, {
        description:
          'group whose key share they send to the HTTPS and the MQTT door, which may choose another; X25519MLKEM768, the post-quantum hybrid, costs both sides more. Enrolment and drills send X25519',
        default: 'X25519',
      }),
    ),
    certificate_ttl: duration(
      'life of each certificate; asked of the claim token, or the group, that is made for the run. Missing: as the server has it',
      '1s',
      '3650d',
    ),
    advice_every: duration(
      'time between two questions whether to renew (GET /v1/renewal). Missing: renew_after of the certificate alone says so',
      '1s',
      '31d',
    ),
    mqtt: Type.Optional(
      Type.Object(
        {
          version: Type.Optional(
            Type.Unsafe<'3.1.1' | 5>(
              Type.Enum(['3.1.1', 5], { description: 'of the protocol', default: '3.1.1' }),
            ),
          ),
          qos: Type.Optional(
            Type.Integer({ description: 'of publications', minimum: 0, maximum: 1, default: 1 }),
          ),
          clean: flag('false: the session stays at the broker while the device is away', true),
          keepalive: duration('in whole seconds; 0s: none', '0s', '65535s', '60s'),
          subscribe: flag('to its own topics, so that it hears what it says', true),
        },
        { ...closed, description: 'of those who come by MQTT', default: {} },
      ),
    ),
    clocks: Type.Optional(
      Type.Object(
        {
          share: Type.Optional(share('of the devices whose clocks are wrong', 0)),
          from: offset('wrong by at least this; negative: slow'),
          to: offset('and at most this'),
        },
        { ...closed, description: 'by which devices judge certificates of servers, and renew', default: {} },
      ),
    ),
    timeline: Type.Optional(
      Type.Array(TimelineEntry, {
        description: 'what befalls them, in any order; each entry has exactly one of the faults',
        maxItems: 100,
        default: [],
      }),
    ),
    drills: Type.Optional(
      Type.Union(
        [
          Type.Literal('all'),
          Type.Array(Type.String({ pattern: '^[a-z][a-z0-9_]*$', maxLength: 64 }), { maxItems: 100 }),
        ],
        {
          description: 'attacks that run beside the fleet, by name (docs/simulator.md), or all',
          default: [],
        },
      ),
    ),
    bounds: Type.Optional(
      Type.Object(
        {
          revoked_within: duration(
            "after the operator's answer: from then on nothing of a revoked device gets in",
            '0s',
            '1m',
            '1s',
          ),
          drain: duration(
            'at the end, for what is under way: answers, deliveries, renewals',
            '0s',
            '5m',
            '5s',
          ),
        },
        { ...closed, description: 'what the promises are judged by', default: {} },
      ),
    ),
    assert: Type.Optional(
      Type.Array(Type.String({ maxLength: 200, examples: ['https.p99<500ms', 'lost==0'] }), {
        description:
          'what must be true of the figures in the end. Missing, and nothing is in the timeline: refused==0, unanswered==0, and errors==0 unless clocks are wrong',
        maxItems: 100,
      }),
    ),
  },
  {
    ...closed,
    title: 'Sallyport scenario',
    description: 'What a simulated fleet is asked to do (docs/scenarios.md)',
    $id: 'urn:sallyport:scenario:1',
  },
)
export type ScenarioFile = Static<typeof ScenarioFileSchema>
