-- The registry: what Sallyport remembers. Times are ms since the epoch; hashes, serials and key ids are lower-case hex.
-- Applied once, whole or not at all, by src/registry/sqlite/migrate.ts; never edited afterwards (its checksum is kept): add a file.

-- Closed sets are CHECKs. Where an enrolment writes they are written with `or`: for `in` with more than two values SQLite builds a table
-- each time (3 us).

-- ---- issuers and devices

create table issuers (
  ski           text not null primary key,
  state         text not null check (state in ('prepared', 'offered', 'active', 'retiring', 'retired', 'revoked')),
  registered_at integer not null,
  offered_at    integer,
  -- the version of the chain that was the first with it: who has fetched that one, or a later one, has it
  offered_version integer,
  -- stored before a CRL is signed: a crash skips a number, never repeats one
  crl_number    integer not null default 0,
  -- rises in each transaction that changes what its CRL lists, so that the publisher compares one number
  revocation_version integer not null default 0,
  -- of its public key: a subject key id is a name that anybody may put into a certificate
  spki_sha256   text not null,
  -- of its certificates, revoked and intended ones too: the last notAfter. Kept here, for to ask a million of them takes a scan
  last_expiry   integer,
  -- what its certificates say as CDP and AIA; null until the first is to be signed
  status_url    text,
  -- OCSP says them of every certificate of a revoked one
  revoked_at    integer,
  revocation_reason text,
  -- when it was revoked, as devices.cut_at: the devices of which it issued the newest certificate were cut with it
  cut_at        integer,
  der           blob not null,
  check ((state = 'revoked') = (revoked_at is not null)),
  check ((revoked_at is null) = (revocation_reason is null))
) strict;

-- Every status URL that its certificates may say: a reader holds the CRL's distribution point against theirs.
create table issuer_status_urls (
  number     integer primary key autoincrement,
  issuer_ski text not null references issuers (ski),
  url        text not null,
  unique (issuer_ski, url)
) strict;

-- Every number that was taken for a CRL, signed or not: `signer verify` holds the signer's log against them.
create table crl_numbers (
  issuer_ski text not null references issuers (ski),
  number     integer not null,
  taken_at   integer not null,
  primary key (issuer_ski, number)
) strict, without rowid;

create table devices (
  -- Two ids that differ only in case are one id to a careless reader, so the second is refused. NOCASE folds
  -- the ASCII that an id is made of. Who asks for a device compares its id once more, exactly.
  id           text not null collate nocase primary key
                 check (length(id) between 1 and 64 and id not glob '*[^A-Za-z0-9._~:-]*'),
  state        text not null check (state = 'registered' or state = 'active' or state = 'suspended' or state = 'revoked' or state = 'retired'),
  -- when it came into `state`: the revocation date of a certificateHold
  state_since  integer not null,
  -- when it was last suspended, revoked or retired: what a broker keeps for it goes. Never before a time that was on record then, so that cuts
  -- follow each other; null: never
  cut_at       integer,
  group_name   text not null,
  tags         text not null check (json_valid(tags)),
  created_at   integer not null,
  last_seen_at integer,
  -- the only key it may enrol with; null: any
  registered_spki    text check (length(registered_spki) = 64),
  -- of its newest confirmed certificate: what it shows as (renewal_due, expired) is read from these
  renew_at           integer,
  expires_at         integer,
  clone_suspected_at integer,
  -- renewals by expired certificates in a row
  late_renewals      integer not null default 0,
  revision     integer not null
) strict, without rowid;

-- Nearly all are active, and listing those needs no index.
create index devices_inactive on devices (state, id) where state <> 'active';

-- `renewal_due` and `expired`: an enrolment meets it once, when its certificate is recorded, and adds at its far end.
create index devices_due on devices (renew_at, id) where state = 'active' and renew_at is not null;

-- few are; a gateway that was away asks for those since then
create index devices_cut on devices (cut_at, id) where cut_at is not null;

-- Lists by group, revocation of a group.
create index devices_by_group on devices (group_name, id);

-- How many devices of a group are not retired: only of groups that have ever had a quota of devices (group-sizes.ts).
create table group_sizes (
  group_name text not null primary key,
  devices    integer not null
) strict, without rowid;

-- Keys about which more is known than which certificates they have: registered for a device before it enrols, blocked, compromised.
-- A key belongs to the device that it was registered or certified for, for ever: it is never shared, and never comes back once it
-- was compromised. Nobody's key is one that an administrator has blocked. Of certified keys: certificates_by_key.
create table device_keys (
  spki_sha256    text not null primary key check (length(spki_sha256) = 64),
  device_id      text references devices (id),
  compromised_at integer,
  check (device_id is not null or compromised_at is not null)
) strict, without rowid;

-- few keys are, and listing those needs no scan
create index device_keys_blocked on device_keys (spki_sha256) where compromised_at is not null;

-- ---- certificates

-- `intended` is written before the CA signs, `pending` or `live` before the certificate leaves the process (docs/issuance-cycle.md).
create table certificates (
  number            integer primary key,
  serial            text not null unique check (length(serial) = 32),
  device_id         text not null references devices (id),
  issuer_ski        text not null references issuers (ski),
  spki_sha256       text not null,
  -- A use of a credential is (kind, credential, key): asking again with all three yields the same certificate, and spends nothing. The
  -- newest row of a use stands for it. `credential`: the id of a claim token, the fingerprint of the certificate that was renewed,
  -- the SHA-256 of the signed part of a bootstrap certificate, the id of a registered device, the id of an approved request.
  credential_kind   text not null check (credential_kind = 'token' or credential_kind = 'renewal' or credential_kind = 'bootstrap' or credential_kind = 'allow_list' or credential_kind = 'approval'),
  credential        text not null,
  -- the id that was asked for, where a webhook gave another one; null: device_id
  asked_id          text,
  reserved_at       integer not null,
  state             text not null check (state = 'intended' or state = 'pending' or state = 'live' or state = 'revoked'),
  not_before        integer not null,
  not_after         integer not null check (not_after > not_before),
  -- the life that was granted, ms. An expiring issuer may have cut it short; a renewal is granted this again
  ttl               integer not null check (ttl > 0),
  renew_at          integer not null,
  -- when it is withdrawn if it is `pending` then; null: it was confirmed, or is the only one its device has
  pending_until     integer,
  -- what it says beside device id, key and dates; null: nothing
  extras            text check (json_valid(extras)),
  -- serials: of the one it renews, and of the one confirmed in its place
  predecessor       text,
  superseded_by     text,
  fingerprint       text unique check (length(fingerprint) = 64),
  revoked_at        integer,
  revocation_reason text,
  check (state <> 'intended' or fingerprint is null),
  check (state not in ('pending', 'live') or fingerprint is not null),
  check (state <> 'pending' or pending_until is not null),
  check ((state = 'revoked') = (revoked_at is not null)),
  check ((revoked_at is null) = (revocation_reason is null))
) strict;

-- Apart, so that the rows above stay small for the doors' look-ups, and a revocation does not write them again.
create table certificate_bytes (
  number integer primary key references certificates (number),
  der    blob not null
) strict;

create index certificates_by_device on certificates (device_id, number);
-- whose a key is, and which uses it was named in
create index certificates_by_key on certificates (spki_sha256, credential);
create index certificates_pending on certificates (pending_until) where state = 'pending';
create index certificates_revoked on certificates (issuer_ski, number) where state = 'revoked';

-- Serials that an administrator has revoked and that no row above has: of certificates that our key signed, and we did not.
create table revoked_serials (
  issuer_ski text not null references issuers (ski),
  -- whatever the thief wrote: content octets of the INTEGER
  serial     text not null check (length(serial) between 2 and 64 and length(serial) % 2 = 0),
  -- until when it is listed; where nobody knows, the end of its issuer
  not_after  integer not null,
  revoked_at integer not null,
  reason     text not null,
  primary key (issuer_ski, serial)
) strict, without rowid;

-- ---- credentials

create table claim_tokens (
  number          integer primary key,
  id              text not null unique,
  hash            text not null,
  -- not a reference: a token may be bound to an id whose device is yet to come
  device_id       text,
  -- of the devices it makes
  group_name      text not null,
  uses            integer not null check (uses > 0),
  used            integer not null check (used between 0 and uses),
  created_at      integer not null,
  expires_at      integer not null,
  -- null: the group's
  certificate_ttl integer,
  revoked_at      integer
) strict;

create index claim_tokens_by_device on claim_tokens (device_id) where device_id is not null;

create table operator_tokens (
  number     integer primary key autoincrement,
  id         text not null unique,
  hash       text not null,
  name       text not null,
  role       text not null,
  created_at integer not null,
  revoked_at integer
) strict;

-- Programs without a certificate (CF-Access-Client-Id and -Secret). Never deleted: a rule that names one must not meet another one.
create table service_tokens (
  number         integer primary key autoincrement,
  -- what rules name
  id             text not null unique,
  name           text not null unique,
  client_id      text not null unique,
  hash           text not null,
  -- the secret of before a rotation, and until when it is good
  previous_hash  text,
  previous_until integer,
  -- counts what was done to it, for If-Match
  revision       integer not null check (revision > 0),
  created_at     integer not null,
  expires_at     integer,
  revoked_at     integer,
  check ((previous_hash is null) = (previous_until is null))
) strict;

-- Session tokens that are void before their time. At most 10,000 (session-revocations.ts), for the doors keep them in memory.
create table session_revocations (
  scope        text not null check (scope in ('token', 'device', 'application', 'everything')),
  -- SHA-256 of a token's jti; a device's id, <anchor>/<name>, or <anchor>/ for all of it; an application's id
  subject      text not null check ((scope = 'everything') = (subject = '')),
  -- those issued at or before it
  issued_until integer not null,
  -- when none of them can be alive any more
  expires_at   integer not null,
  primary key (scope, subject)
) strict, without rowid;

-- One row: another stamp with every change of the table above, so that a door compares one value for each request.
create table session_revocations_version (
  one   integer not null primary key check (one = 1),
  stamp text not null
) strict;

insert into session_revocations_version (one, stamp) values (1, lower(hex(randomblob(16))));

-- How many certificates a bootstrap certificate has yielded; `credential`: the SHA-256 of its signed part.
create table bootstrap_uses (
  credential text not null primary key,
  used       integer not null
) strict, without rowid;

-- Certificates by clock hour, only of what has a quota. `scope`: `group:<name>`, `issuer:<ski>`.
create table issuance_counts (
  scope text not null,
  hour  integer not null,
  count integer not null,
  primary key (scope, hour)
) strict, without rowid;

-- Enrolments that an operator decides.
create table enrollment_requests (
  number          integer primary key autoincrement,
  id              text not null unique,
  state           text not null check (state in ('waiting', 'approved', 'denied', 'issued', 'expired')),
  group_name      text not null,
  device_id       text not null,
  spki_sha256     text not null,
  csr             blob not null,
  credential_kind text not null check (credential_kind in ('token', 'bootstrap', 'allow_list', 'none', 'renewal')),
  credential      text not null,
  address         text not null,
  -- what they are counted under: an IPv4 address or an IPv6 /64
  address_key     text not null,
  created_at      integer not null,
  expires_at      integer not null,
  decided_at      integer,
  decided_by      text
) strict;

create unique index enrollment_requests_open
  on enrollment_requests (credential_kind, credential, spki_sha256) where state in ('waiting', 'approved');
create index enrollment_requests_of on enrollment_requests (credential_kind, credential, spki_sha256, number);
-- counted before another one is taken in
create index enrollment_requests_of_group on enrollment_requests (group_name, credential_kind, expires_at) where state = 'waiting';
create index enrollment_requests_of_address on enrollment_requests (address_key, expires_at) where state = 'waiting';
create index enrollment_requests_by_end on enrollment_requests (expires_at);

-- ---- authorities

-- Roots that devices verify servers with.
create table server_anchors (
  number      integer primary key autoincrement,
  fingerprint text not null unique,
  state       text not null check (state in ('prepared', 'offered', 'active', 'retiring', 'retired')),
  offered_at  integer,
  offered_version integer,
  der         blob not null
) strict;

-- `chain`: the issuing CAs of devices; `server`: the anchors above. A version rises when what is given out changes.
create table trust_versions (
  kind    text not null primary key check (kind in ('chain', 'server')),
  version integer not null
) strict, without rowid;

insert into trust_versions (kind, version) values ('chain', 1), ('server', 1);

-- The newest version that a device was given.
create table trust_fetches (
  device_id  text not null references devices (id),
  kind       text not null check (kind in ('chain', 'server')),
  version    integer not null,
  fetched_at integer not null,
  primary key (device_id, kind)
) strict, without rowid;

-- CRLs that were signed elsewhere: the root's.
create table imported_crls (
  ski         text not null primary key,
  number      text not null,
  this_update integer not null,
  next_update integer not null,
  imported_at integer not null,
  der         blob not null
) strict;

-- ---- access

-- One row. `version` rises with every change; `stamp` is random, so that the same number in a restored backup is not taken for the same state.
create table access_version (
  one     integer not null primary key check (one = 1),
  version integer not null,
  stamp   text not null
) strict;

insert into access_version (one, version, stamp) values (1, 0, lower(hex(randomblob(16))));

create table access (
  kind           text not null check (kind in ('anchor', 'application', 'policy', 'rule_group', 'group')),
  name           text not null,
  -- the version at which it was written: never the same for two values of one name
  revision       integer not null,
  application_id text unique check ((kind = 'application') = (application_id is not null)),
  value          text not null check (json_valid(value)),
  primary key (kind, name)
) strict;

-- The newest CRL of each CA of a foreign anchor. It goes with its anchor.
create table anchor_crls (
  anchor      text not null,
  -- SHA-256 of the name and the public key of the CA
  issuer      text not null check (length(issuer) = 64),
  -- decimal; null: the CRL has none
  number      text,
  this_update integer not null,
  next_update integer not null,
  entries     integer not null,
  -- its URL, or `upload`
  source      text not null,
  kept_at     integer not null,
  der         blob not null,
  primary key (anchor, issuer)
) strict;

-- They sign assertions and session tokens: the newest does, and what the older ones have signed still counts.
create table assertion_keys (
  number     integer primary key autoincrement,
  kid        text not null unique,
  algorithm  text not null,
  public_jwk text not null,
  sealed     blob not null,
  -- PEM, self-signed
  certificate text not null,
  created_at integer not null
) strict;

-- ---- what happened

create table audit (
  sequence integer primary key,
  at       integer not null,
  actor    text not null,
  action   text not null,
  subject  text not null,
  details  text not null check (json_valid(details))
) strict;

-- One row: the newest time of all that is on record. Written with each transaction that brings a newer one, so that nobody has to
-- look for it.
create table recorded_time (
  one    integer not null primary key check (one = 1),
  newest integer not null
) strict;

insert into recorded_time (one, newest) values (1, 0);

-- The feed. A cursor is a row's sequence and stamp: a database with another history has another stamp there, or no such row.
create table changes (
  sequence integer primary key,
  stamp    text not null default (lower(hex(randomblob(16)))),
  kind     text not null check (kind = 'device' or kind = 'issuer' or kind = 'access' or kind = 'assertion_keys' or kind = 'credentials' or kind = 'anchor_crls' or kind = 'reset'),
  -- the device's id or the issuer's ski
  subject  text
) strict;

-- so that there is always a row to point a cursor at
insert into changes (kind) values ('reset');

-- ---- housekeeping

create table idempotent_answers (
  scope        text not null,
  key          text not null,
  request_hash text not null,
  sealed       blob not null,
  created_at   integer not null,
  primary key (scope, key)
) strict, without rowid;

create index idempotent_answers_by_time on idempotent_answers (created_at);

-- One row, once the inbox has been read.
create table inbox_cursor (
  one    integer not null primary key check (one = 1),
  cursor text not null
) strict;
