/**
 * An enrolment group as it is written: in `PUT /v1/groups/{name}`, in `fleet.yaml`, and in what comes back, where nothing is left out.
 * What a schema cannot say (durations, certificates, templates, one thing against another) is read by the use case.
 */

import Type, { type Static } from 'typebox'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { CLONE_ACTIONS, CREDENTIAL_KINDS } from '#fleet/enrollment-group.ts'
import { closed, Duration, literals, Name, orNull } from './parts.ts'

const MOST_COUNTED = 1_000_000_000

const Share = Type.Number({ minimum: 0, maximum: 1 })
const Text = Type.String({ minLength: 1, maxLength: 256 })

const credentials = Type.Array(literals(CREDENTIAL_KINDS), { minItems: 1, maxItems: CREDENTIAL_KINDS.length })
const keyKinds = Type.Array(literals(KEY_KINDS), { minItems: 1, maxItems: KEY_KINDS.length })
const tags = Type.Record(Type.String(), Type.String())
const dnsNames = Type.Array(Text, { maxItems: 10 })
const window = Type.Object({ from: Share, to: Share }, closed)
const onClone = literals(CLONE_ACTIONS)
/** one segment of `/.well-known/est/<label>/` */
const estLabels = Type.Array(Type.String({ pattern: '^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$' }), {
  maxItems: 20,
})
const count = (minimum: number, maximum = MOST_COUNTED) => Type.Integer({ minimum, maximum })
/** 1 MiB is the most that a body may have, all CRLs included */
const anchors = Type.String({ maxLength: 262_144 })
const crls = Type.String({ maxLength: 786_432 })
const url = Type.String({ maxLength: 2_048 })

/** Everything may be left out: a group is what `default` is, but for what is said. */
export const GroupBody = Type.Object(
  {
    enabled: Type.Optional(Type.Boolean()),
    credentials: Type.Optional(credentials),
    approval: Type.Optional(Type.Boolean()),
    registered_only: Type.Optional(Type.Boolean()),
    id_template: Type.Optional(orNull(Text)),
    tags: Type.Optional(tags),
    profile: Type.Optional(
      Type.Object(
        {
          organization: Type.Optional(orNull(Text)),
          organizational_unit: Type.Optional(orNull(Text)),
          dns_names: Type.Optional(dnsNames),
        },
        closed,
      ),
    ),
    key_kinds: Type.Optional(keyKinds),
    cert_ttl: Type.Optional(Duration),
    max_cert_ttl: Type.Optional(Duration),
    renewal_window: Type.Optional(window),
    confirm_within: Type.Optional(Duration),
    renewals_per_day: Type.Optional(count(0, 10_000)),
    expired_grace: Type.Optional(Duration),
    expired_renewals: Type.Optional(count(0, 10_000)),
    on_clone: Type.Optional(onClone),
    est_labels: Type.Optional(estLabels),
    quotas: Type.Optional(
      Type.Object(
        {
          devices: Type.Optional(orNull(count(0))),
          certificates_per_hour: Type.Optional(orNull(count(0))),
          open_requests: Type.Optional(count(0, 1_000_000)),
        },
        closed,
      ),
    ),
    bootstrap: Type.Optional(
      orNull(
        Type.Object(
          {
            anchors,
            crls: Type.Optional(orNull(crls)),
            allow_no_eku: Type.Optional(Type.Boolean()),
            certificates_per_credential: Type.Optional(count(1)),
          },
          closed,
        ),
      ),
    ),
    webhook: Type.Optional(orNull(Type.Object({ url, ca: Type.Optional(orNull(anchors)) }, closed))),
  },
  closed,
)
export type GroupBody = Static<typeof GroupBody>

export const Group = Type.Interface([GroupBody], { name: Name }, closed)
export type Group = Static<typeof Group>

/** As it stands: null is "none". */
export const StoredGroup = Type.Object(
  {
    name: Name,
    enabled: Type.Boolean(),
    credentials,
    approval: Type.Boolean(),
    registered_only: Type.Boolean(),
    id_template: orNull(Text),
    tags,
    profile: Type.Object(
      { organization: orNull(Text), organizational_unit: orNull(Text), dns_names: dnsNames },
      closed,
    ),
    key_kinds: keyKinds,
    cert_ttl: Duration,
    max_cert_ttl: Duration,
    renewal_window: window,
    confirm_within: Duration,
    renewals_per_day: Type.Integer(),
    expired_grace: Duration,
    expired_renewals: Type.Integer(),
    on_clone: onClone,
    est_labels: estLabels,
    quotas: Type.Object(
      {
        devices: orNull(Type.Integer()),
        certificates_per_hour: orNull(Type.Integer()),
        open_requests: Type.Integer(),
      },
      closed,
    ),
    bootstrap: orNull(
      Type.Object(
        {
          anchors,
          crls: orNull(crls),
          allow_no_eku: Type.Boolean(),
          certificates_per_credential: Type.Integer(),
        },
        closed,
      ),
    ),
    webhook: orNull(Type.Object({ url, ca: orNull(anchors) }, closed)),
  },
  closed,
)
export type StoredGroup = Static<typeof StoredGroup>
