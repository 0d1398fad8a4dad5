/**
 * Every setting of every process, once. docs/configuration.md is held against this table by a test, the type `Config` by tsc.
 * Process settings only: anchors, applications, policies and groups live in the registry. Not how they are read: config.ts.
 */

import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { MAX_SESSION } from '#fleet/session.ts'
import * as kinds from './kinds.ts'
import type { BrokerAddress, Kind, Listen } from './kinds.ts'

/** As it is after reading: durations in ms, sizes in bytes, paths absolute. */
export type Settings = {
  environment: 'development' | 'production'
  ca: {
    root: string
    intermediate: string
    intermediate_key: string
    passphrase_file: string | undefined
    signer: string | undefined
    issuers: string
    rotate_min_offered: number
    rotate_min_share: number
  }
  signer: {
    socket: string
    socket_group: string | undefined
    log: string
    max_ttl: number
    certificates_per_hour: number
  }
  tls: { cert: string; key: string }
  secrets: { key_file: string }
  registry: { path: string; inbox: string; witness: string }
  enroll: {
    devices_listen: Listen
    status_listen: Listen
    operator_listen: Listen
    metrics_listen: Listen
    status_url: string
    status_url_before: string | undefined
    public_url: string | undefined
    crl_ttl: number
    ocsp_ttl: number
    assertion_algorithm: 'ES256' | 'RS256' | 'EdDSA'
    assertion_key_life: number
    assertion_key_overlap: number
    failures_per_minute: number
    certificates_per_hour: number | undefined
    webhook_secret_file: string | undefined
    relay_ca: string | undefined
    relay_deny: readonly string[] | undefined
    relays_per_minute: number
  }
  gateway: {
    https_listen: Listen
    mqtts_listen: Listen
    metrics_listen: Listen
    enroll_url: string | undefined
    relay_cert: string | undefined
    relay_key: string | undefined
    relay_ca: string | undefined
  }
  https: {
    origin_timeout: number
    session_duration: number
    max_connection: number
    public_port: number | undefined
    workers: number
    connections_per_address: number
    requests_per_certificate: number
    body_limit: number
    body_least: number
  }
  mqtt: {
    default_hostname: string | undefined
    max_connection: number
    handshake_per: 'connection' | 'message'
    connect_timeout: number
    connect_limit: number
    frame_limit: number
    receive_maximum: number
    topic_alias_maximum: number
    subscriptions: number
    packets_per_second: number
    bytes_per_second: number
    denied_per_minute: number
    max_keepalive: number | undefined
    connections_per_address: number
    server_reference: string | undefined
    log_every: number
    store: string
    broker_socket: string
    upstream: readonly BrokerAddress[] | undefined
    upstream_engine: 'mqtt' | 'rabbitmq' | 'nats'
    upstream_ca: string | undefined
    upstream_cert: string | undefined
    upstream_key: string | undefined
    upstream_username: string | undefined
    upstream_password_file: string | undefined
    upstream_proxy_protocol: 'off' | 'v2'
    upstream_timeout: number
  }
  limits: {
    handshake_timeout: number
    header_timeout: number
    header_bytes: number
    max_connections: number
  }
  log: { level: 'debug' | 'info' | 'warn' | 'error' }
}

export type ReaderDesk = 'enroll' | 'signer' | 'gateway' | 'cli'

/** `development`: the default there only. Elsewhere the setting is unset, and refused as missing by the desks in `required`. */
export type Setting<T = unknown> = {
  readonly kind: Kind<NonNullable<T>>
  readonly default: string | { readonly development: string } | undefined
  readonly doc: string
  /** who acts on it */
  readonly desks: readonly ReaderDesk[]
  /** in production */
  readonly required?: readonly ReaderDesk[]
}

type Paths<T, Prefix extends string = ''> = {
  [K in keyof T & string]: T[K] extends
    Listen | readonly (BrokerAddress | string)[] | string | number | undefined
    ? `${Prefix}${K}`
    : Paths<T[K], `${Prefix}${K}.`>
}[keyof T & string]
export type SettingPath = Paths<Settings>

type At<T, P extends string> = P extends `${infer Head}.${infer Rest}`
  ? Head extends keyof T
    ? At<T[Head], Rest>
    : never
  : P extends keyof T
    ? T[P]
    : never

const BOTH = ['enroll', 'gateway'] as const

export const SETTINGS: { readonly [P in SettingPath]: Setting<At<Settings, P>> } = {
  environment: {
    kind: kinds.choice('development', 'production'),
    default: 'production',
    doc: 'In `production` nothing is made up: what only development has a default for must be set. `npx sallyport up` without a configuration file is `development`.',
    desks: ['enroll', 'signer', 'gateway', 'cli'],
  },

  'ca.root': {
    kind: kinds.path,
    default: 'certs/root.pem',
    doc: 'The root certificate, PEM. Its key is not needed by any process.',
    desks: ['enroll', 'signer', 'gateway', 'cli'],
  },
  'ca.intermediate': {
    kind: kinds.path,
    default: 'certs/intermediate.pem',
    doc: 'The intermediate under that root which signs devices, PEM. Active as the first of all; another one later is prepared (`docs/ca-life.md`).',
    desks: ['enroll', 'signer', 'cli'],
  },
  'ca.intermediate_key': {
    kind: kinds.path,
    default: 'certs/private/intermediate.key',
    doc: 'Its private key, PEM, mode 0600. Only the signer reads it, or the enroll desk when `ca.signer` is not set.',
    desks: ['enroll', 'signer', 'cli'],
  },
  'ca.passphrase_file': {
    kind: kinds.path,
    default: undefined,
    doc: 'A file with the passphrase of that key, mode 0600. Unset: the key is not encrypted.',
    desks: ['enroll', 'signer', 'cli'],
  },
  'ca.signer': {
    kind: kinds.path,
    default: undefined,
    doc: 'The socket of a `sallyport signer`. Set: the enroll desk asks it for every signature, and reads no key of a CA.',
    desks: ['enroll'],
  },
  'ca.issuers': {
    kind: kinds.path,
    default: 'certs/issuers',
    doc: 'A directory with further intermediates and their keys, made by `sallyport ca rotate prepare`: `<key id>.pem` and `<key id>.key`, mode 0600, under the same passphrase. Need not exist.',
    desks: ['enroll', 'signer', 'cli'],
  },
  'ca.rotate_min_offered': {
    kind: kinds.duration(0, 3_650 * DAY, 'up to 3650d'),
    default: '7d',
    doc: 'A new issuer or server anchor is activated after it has been offered for this long, or has been fetched by `ca.rotate_min_share`, whichever comes first.',
    desks: ['enroll'],
  },
  'ca.rotate_min_share': {
    kind: kinds.share,
    default: '0.95',
    doc: 'The share of the active devices that must have fetched a new issuer or server anchor before it is activated sooner.',
    desks: ['enroll'],
  },

  'signer.socket': {
    kind: kinds.path,
    default: 'run/signer.sock',
    doc: 'Where `sallyport signer` listens. Its folder must not be writable by group or others; it is made, mode 0750, when it is missing.',
    desks: ['signer'],
  },
  'signer.socket_group': {
    kind: kinds.group,
    default: undefined,
    doc: "The group that may come to the socket (mode 0660): a name in `/etc/group`, or a number. Unset: the process's own.",
    desks: ['signer'],
  },
  'signer.log': {
    kind: kinds.path,
    default: 'log/signer.jsonl',
    doc: 'What was signed, one line each, on the disk before the answer leaves. Large files are kept under another name; see docs/signer.md.',
    desks: ['signer', 'cli'],
  },
  'signer.max_ttl': {
    kind: kinds.duration(SECOND, 3_650 * DAY, 'from 1s to 3650d'),
    default: '90d',
    doc: 'The longest life of a certificate that the signer signs, whatever the desk asks for. Set it to the longest that any group grants.',
    desks: ['signer'],
  },
  'signer.certificates_per_hour': {
    kind: kinds.integer(1, 999_999_999),
    default: '100000',
    doc: 'The most certificates that the signer signs in a clock hour, over all issuers; more are refused with `quota_exceeded`. A million devices with certificates of a day need 60,000.',
    desks: ['signer'],
  },

  'tls.cert': {
    kind: kinds.path,
    default: { development: 'certs/server.pem' },
    doc: 'The certificate of every TLS listener, PEM: leaf first, then its intermediates.',
    desks: BOTH,
    required: BOTH,
  },
  'tls.key': {
    kind: kinds.path,
    default: { development: 'certs/private/server.key' },
    doc: 'Its private key, PEM, mode 0600.',
    desks: BOTH,
    required: BOTH,
  },
  'secrets.key_file': {
    kind: kinds.path,
    default: 'certs/private/registry.key',
    doc: 'The key that seals secrets in the registry: 32 bytes as hex or base64, mode 0600.',
    desks: ['enroll', 'gateway', 'cli'],
  },

  'registry.path': {
    kind: kinds.path,
    default: 'db/sallyport.sqlite',
    doc: 'The registry. The enroll desk opens it read-write, the gateway read-only.',
    desks: ['enroll', 'gateway', 'cli'],
  },
  'registry.inbox': {
    kind: kinds.path,
    default: 'db/gateway-inbox.sqlite',
    doc: 'What the gateway has to say to the enroll desk: its own append-only file.',
    desks: BOTH,
  },
  'registry.witness': {
    kind: kinds.path,
    default: 'certs/private',
    doc: 'A folder that outlives a container and is not restored together with the registry: by a file in it an old backup is known.',
    desks: ['enroll'],
  },

  'enroll.devices_listen': {
    kind: kinds.listen,
    default: '[::]:8443',
    doc: 'REST, EST and trust for devices, over TLS with an optional client certificate.',
    desks: ['enroll'],
  },
  'enroll.status_listen': {
    kind: kinds.listen,
    default: '[::]:8081',
    doc: 'CRLs, OCSP and issuer certificates, over plain HTTP.',
    desks: ['enroll'],
  },
  'enroll.operator_listen': {
    kind: kinds.listen,
    default: '127.0.0.1:8080',
    doc: 'Operator API. Plain HTTP on loopback; any other address is served over TLS and needs `tls.cert` and `tls.key` to be set.',
    desks: ['enroll'],
  },
  'enroll.metrics_listen': {
    kind: kinds.listen,
    default: '127.0.0.1:9465',
    doc: '`/metrics`, `/healthz`, `/readyz` of the enroll desk. A loopback address.',
    desks: ['enroll'],
  },
  'enroll.status_url': {
    kind: kinds.httpBase,
    default: { development: 'http://localhost:8081' },
    doc: 'How the world reaches `enroll.status_listen`. Written into every certificate (CDP, AIA), so it cannot change silently.',
    desks: ['enroll', 'signer'],
    required: ['enroll', 'signer'],
  },
  'enroll.status_url_before': {
    kind: kinds.httpBase,
    default: undefined,
    doc: 'The `enroll.status_url` of before, to change it: certificates that name the old URL need it to go on answering.',
    desks: ['enroll'],
  },
  'enroll.public_url': {
    kind: kinds.httpsBase,
    default: undefined,
    doc: 'How devices reach `enroll.devices_listen`; handed out with claim tokens. Unset: the URL it listens on.',
    desks: ['enroll'],
  },
  'enroll.crl_ttl': {
    kind: kinds.duration(MINUTE, 30 * DAY, 'from 1m to 30d'),
    default: '24h',
    doc: 'From `thisUpdate` to `nextUpdate` of a CRL. A new one is made long before, and at each revocation.',
    desks: ['enroll'],
  },
  'enroll.ocsp_ttl': {
    kind: kinds.duration(MINUTE, 7 * DAY, 'from 1m to 7d'),
    default: '1h',
    doc: 'From an OCSP answer to its `nextUpdate`. Each is what the registry says then; one without a nonce may be up to a minute old, and an HTTP cache may keep it for a minute at most.',
    desks: ['enroll'],
  },
  'enroll.assertion_algorithm': {
    kind: kinds.choice('ES256', 'RS256', 'EdDSA'),
    default: 'ES256',
    doc: 'Of the next key that the gateway signs assertions and session tokens with. RS256 costs every request 300 µs, ES256 30.',
    desks: ['enroll'],
  },
  'enroll.assertion_key_life': {
    kind: kinds.duration(HOUR, 400 * DAY, 'from 1h to 400d'),
    default: '42d',
    doc: 'How long a key signs until the next one is made. It is published for `enroll.assertion_key_overlap` longer.',
    desks: ['enroll'],
  },
  'enroll.assertion_key_overlap': {
    kind: kinds.duration(MINUTE, 60 * DAY, 'from 1m to 60d'),
    default: '7d',
    doc: 'How long tokens of the key before are still accepted; at most 14 times its life. A session that lasts longer ends with it.',
    desks: ['enroll'],
  },
  'enroll.failures_per_minute': {
    kind: kinds.integer(1, 1_000_000),
    default: '30',
    doc: 'Failed credentials per address and minute before 429.',
    desks: ['enroll'],
  },
  'enroll.certificates_per_hour': {
    kind: kinds.integer(1, 999_999_999),
    default: undefined,
    doc: 'Certificates that one issuer signs in a clock hour, renewals included; more are refused with `quota_exceeded`, and told. Unset: as many as are asked for.',
    desks: ['enroll'],
  },
  'enroll.webhook_secret_file': {
    kind: kinds.path,
    default: undefined,
    doc: 'A file with the secret that calls of enrolment webhooks are signed with: at least 32 characters, mode 0600. Unset: no group can have a webhook.',
    desks: ['enroll'],
  },

  'enroll.relay_ca': {
    kind: kinds.path,
    default: undefined,
    doc: 'The services CA (PEM) whose gateway certificates may relay enrolments from MQTT. Unset: nobody may.',
    desks: ['enroll'],
  },
  'enroll.relay_deny': {
    kind: kinds.gatewayIds,
    default: undefined,
    doc: 'Gateways that may not, whatever their certificate: their ids (`urn:sallyport:gateway:<id>`), separated by commas.',
    desks: ['enroll'],
  },
  'enroll.relays_per_minute': {
    kind: kinds.integer(1, 999_999_999),
    default: '600',
    doc: 'Enrolments, renewals and nonces that one gateway may relay in a minute; more are 429.',
    desks: ['enroll'],
  },

  'gateway.https_listen': {
    kind: kinds.listen,
    default: '[::]:9443',
    doc: 'The HTTPS door.',
    desks: ['gateway'],
  },
  'gateway.mqtts_listen': {
    kind: kinds.listen,
    default: '[::]:8883',
    doc: 'The MQTT door, over TLS.',
    desks: ['gateway'],
  },
  'gateway.metrics_listen': {
    kind: kinds.listen,
    default: '127.0.0.1:9464',
    doc: '`/metrics`, `/healthz`, `/readyz` of the gateway. A loopback address.',
    desks: ['gateway'],
  },

  'gateway.enroll_url': {
    kind: kinds.httpsBase,
    default: undefined,
    doc: "The enroll desk's device listener, for enrolment over MQTT: docs/mqtt-enrollment.md. Unset: devices cannot enrol over MQTT.",
    desks: ['gateway'],
  },
  'gateway.relay_cert': {
    kind: kinds.path,
    default: undefined,
    doc: "The gateway's own client certificate for the enroll desk (PEM, with its intermediate), of the services CA, with a SAN URI `urn:sallyport:gateway:<id>`.",
    desks: ['gateway'],
  },
  'gateway.relay_key': {
    kind: kinds.path,
    default: undefined,
    doc: 'The key of `gateway.relay_cert`, mode 0600.',
    desks: ['gateway'],
  },
  'gateway.relay_ca': {
    kind: kinds.path,
    default: undefined,
    doc: "Root certificates (PEM) by which the enroll desk's server certificate is verified. Unset: `ca.root`.",
    desks: ['gateway'],
  },

  'https.origin_timeout': {
    kind: kinds.duration(1, 60 * MINUTE, 'from 1ms to 1h'),
    default: '30s',
    doc: 'How long an origin may be silent before 504.',
    desks: ['gateway'],
  },
  'https.body_limit': {
    kind: kinds.size(0, 1024 ** 4, 'up to 1024GiB'),
    default: '100MiB',
    doc: 'Largest request body, streamed; more is 413.',
    desks: ['gateway'],
  },
  'https.session_duration': {
    kind: kinds.duration(0, MAX_SESSION, 'from 0s to 31d'),
    default: '0s',
    doc: 'How long a session lasts where neither policy nor application says. `0s` is No Duration: a fresh handshake for every request.',
    desks: BOTH,
  },
  'https.max_connection': {
    kind: kinds.duration(SECOND, 30 * DAY, 'from 1s to 30d'),
    default: '24h',
    doc: 'A connection ends after this time at the latest, whatever is under way; one within a session, and a WebSocket, never outlives certificate or session.',
    desks: ['gateway'],
  },
  'https.public_port': {
    kind: kinds.integer(1, 65_535),
    default: undefined,
    doc: 'The port by which clients reach the HTTPS door, where something forwards another one to it. `Host` may name this one, 443, and the one that is listened on.',
    desks: ['gateway'],
  },
  'https.workers': {
    kind: kinds.integer(0, 256),
    default: '0',
    doc: 'Processes that serve the HTTPS door together, on one port. `0`: none, the gateway serves it itself.',
    desks: ['gateway'],
  },
  'https.connections_per_address': {
    kind: kinds.integer(1, 999_999_999),
    default: '60000',
    doc: 'New connections per minute from one IPv4 address or IPv6 /64; more are closed before their handshake. The default stops a flood and nothing else: set what your clients need.',
    desks: ['gateway'],
  },
  'https.requests_per_certificate': {
    kind: kinds.integer(1, 999_999_999),
    default: '60000',
    doc: 'Requests per minute with one certificate (or service token); more are 429. The default stops a flood and nothing else: set what your clients need.',
    desks: ['gateway'],
  },
  'https.body_least': {
    kind: kinds.size(0, 1024 ** 3, 'up to 1GiB'),
    default: '4KiB',
    doc: 'What a client sends of a body at least, per timeout of the application (`https.origin_timeout`), until it is whole; less is 408. What the origin does not read is not held against it.',
    desks: ['gateway'],
  },

  'mqtt.default_hostname': {
    kind: kinds.hostname,
    default: { development: 'localhost' },
    doc: 'The hostname of MQTT clients that send no SNI. Unset: they are refused.',
    desks: ['gateway'],
  },
  'mqtt.max_connection': {
    kind: kinds.duration(SECOND, 30 * DAY, 'from 1s to 30d'),
    default: '24h',
    doc: 'A connection ends after this time, ± 10 %, and never outlives its certificate.',
    desks: ['gateway'],
  },
  'mqtt.handshake_per': {
    kind: kinds.choice('connection', 'message'),
    default: 'connection',
    doc: '`message`: one CONNECT, one PUBLISH, and the connection is closed.',
    desks: ['gateway'],
  },
  'mqtt.connect_timeout': {
    kind: kinds.duration(1, 10 * MINUTE, 'from 1ms to 10m'),
    default: '10s',
    doc: 'From the end of the TLS handshake to a complete CONNECT.',
    desks: ['gateway'],
  },
  'mqtt.connect_limit': {
    kind: kinds.size(128, 1024 ** 2, 'from 128B to 1MiB'),
    default: '4KiB',
    doc: 'Largest CONNECT packet.',
    desks: ['gateway'],
  },
  'mqtt.frame_limit': {
    kind: kinds.size(128, 256 * 1024 ** 2, 'from 128B to 256MiB'),
    default: '256KiB',
    doc: 'Largest packet after CONNECT. MQTT 5 clients are told it (Maximum Packet Size).',
    desks: ['gateway'],
  },
  'mqtt.receive_maximum': {
    kind: kinds.integer(1, 65_535),
    default: '256',
    doc: 'QoS 1 and 2 messages of one client that may be under way. MQTT 5 clients are told it (Receive Maximum); of others no more is read until one is acknowledged.',
    desks: ['gateway'],
  },
  'mqtt.topic_alias_maximum': {
    kind: kinds.integer(0, 65_535),
    default: '16',
    doc: 'Topic aliases that an MQTT 5 client may set. They end at the door. `0`: none.',
    desks: ['gateway'],
  },
  'mqtt.subscriptions': {
    kind: kinds.integer(1, 100_000),
    default: '100',
    doc: 'Subscriptions of one connection; more are refused.',
    desks: ['gateway'],
  },
  'mqtt.packets_per_second': {
    kind: kinds.integer(1, 999_999_999),
    default: '10000',
    doc: 'Packets of one connection per second. One that sends more is read from more slowly.',
    desks: ['gateway'],
  },
  'mqtt.bytes_per_second': {
    kind: kinds.size(1_024, 1024 ** 4, 'from 1KiB to 1024GiB'),
    default: '16MiB',
    doc: 'Bytes of one connection per second. One that sends more is read from more slowly.',
    desks: ['gateway'],
  },
  'mqtt.denied_per_minute': {
    kind: kinds.integer(0, 999_999_999),
    default: '100',
    doc: 'PUBLISH packets that may be denied to one connection in a minute; one more ends it (MQTT 5: 0x87). Where `deny_publish` is `disconnect`, the first one ends a connection of MQTT 3.1.1.',
    desks: ['gateway'],
  },
  'mqtt.max_keepalive': {
    kind: kinds.duration(SECOND, 65_535 * SECOND, 'from 1s to 65535s'),
    default: undefined,
    doc: 'Longest Keep Alive. MQTT 5 clients that ask for more, or for none, are told this one (Server Keep Alive). Unset: the client decides.',
    desks: ['gateway'],
  },
  'mqtt.connections_per_address': {
    kind: kinds.integer(1, 999_999_999),
    default: '60000',
    doc: 'New connections per minute from one IPv4 address or IPv6 /64; more are closed before their handshake. The default stops a flood and nothing else: set what your clients need.',
    desks: ['gateway'],
  },
  'mqtt.server_reference': {
    kind: kinds.serverReference,
    default: undefined,
    doc: 'Where MQTT 5 clients are sent when this gateway stops (0x9D, Server Reference). Unset: they are told that it stops (0x8B).',
    desks: ['gateway'],
  },
  'mqtt.log_every': {
    kind: kinds.integer(0, 999_999_999),
    default: '10000',
    doc: 'Of so many allowed packets one has a log line. `0`: none. What is refused is logged by other rules: docs/mqtt.md.',
    desks: ['gateway'],
  },
  'mqtt.store': {
    kind: kinds.path,
    default: 'db/gateway-broker.sqlite',
    doc: 'What the embedded broker keeps: sessions, queued and retained messages.',
    desks: ['gateway'],
  },
  'mqtt.broker_socket': {
    kind: kinds.path,
    default: 'run/broker.sock',
    doc: 'The socket, mode 0600, by which `https.workers` reach the embedded broker.',
    desks: ['gateway'],
  },
  'mqtt.upstream': {
    kind: kinds.brokers,
    default: undefined,
    doc: 'Brokers behind the door, `mqtt://host:port` or `mqtts://host:port`, separated by commas: any one of them will do. Unset: the embedded broker.',
    desks: ['gateway'],
  },
  'mqtt.upstream_engine': {
    kind: kinds.choice('mqtt', 'rabbitmq', 'nats'),
    default: 'mqtt',
    doc: 'What these brokers are. `rabbitmq` and `nats` read some topics as other ones: those are denied (docs/mqtt-brokers.md). `mqtt`: any that keeps to MQTT.',
    desks: ['gateway'],
  },
  'mqtt.upstream_ca': {
    kind: kinds.path,
    default: undefined,
    doc: 'Root certificates (PEM) by which the certificates of `mqtts://` brokers are verified. Unset: the public ones.',
    desks: ['gateway'],
  },
  'mqtt.upstream_cert': {
    kind: kinds.path,
    default: undefined,
    doc: "The gateway's client certificate for `mqtts://` brokers (PEM).",
    desks: ['gateway'],
  },
  'mqtt.upstream_key': {
    kind: kinds.path,
    default: undefined,
    doc: 'The key of `mqtt.upstream_cert`, mode 0600.',
    desks: ['gateway'],
  },
  'mqtt.upstream_username': {
    kind: kinds.text(256),
    default: undefined,
    doc: 'The User Name that every connection has at the brokers. Unset: the identity of the device.',
    desks: ['gateway'],
  },
  'mqtt.upstream_password_file': {
    kind: kinds.path,
    default: undefined,
    doc: 'A file with the Password for the brokers, mode 0600. Unset: none.',
    desks: ['gateway'],
  },
  'mqtt.upstream_proxy_protocol': {
    kind: kinds.choice('off', 'v2'),
    default: 'off',
    doc: "`v2`: each connection to a broker begins with a PROXY protocol header that says the client's address and, as its common name, who it is.",
    desks: ['gateway'],
  },
  'mqtt.upstream_timeout': {
    kind: kinds.duration(1, 10 * MINUTE, 'from 1ms to 10m'),
    default: '10s',
    doc: 'For a broker to accept a connection and to answer CONNECT.',
    desks: ['gateway'],
  },

  'limits.handshake_timeout': {
    kind: kinds.duration(1, 10 * MINUTE, 'from 1ms to 10m'),
    default: '10s',
    doc: 'From an accepted connection to the end of its TLS handshake.',
    desks: BOTH,
  },
  'limits.header_timeout': {
    kind: kinds.duration(1, 10 * MINUTE, 'from 1ms to 10m'),
    default: '10s',
    doc: 'From the start of a request to the end of its headers; more is 408.',
    desks: BOTH,
  },
  'limits.header_bytes': {
    kind: kinds.size(1024, 1024 ** 2, 'from 1KiB to 1MiB'),
    default: '16KiB',
    doc: 'Largest request line and headers together; more is 431.',
    desks: BOTH,
  },
  'limits.max_connections': {
    kind: kinds.integer(1, 10_000_000),
    default: '10000',
    doc: 'Open connections per listener. Beyond it the doors drop whoever has waited longest without being admitted, the other listeners whoever comes.',
    desks: BOTH,
  },

  'log.level': {
    kind: kinds.choice('debug', 'info', 'warn', 'error'),
    default: 'info',
    doc: 'Least severe line that is written. One JSON line per event, on stderr.',
    desks: ['enroll', 'signer', 'gateway'],
  },
}

/** `enroll.status_url` → `SALLYPORT_ENROLL_STATUS_URL` */
export const environmentName = (path: string): string =>
  `SALLYPORT_${path.toUpperCase().replaceAll('.', '_')}`

/** Environment names that mean something and are no settings. */
export const RESERVED_ENVIRONMENT: Readonly<Record<string, string>> = {
  SALLYPORT_HOME: 'where `certs/`, `db/`, `run/` and `log/` are; default: the checkout',
  SALLYPORT_CONFIG:
    'the configuration file, when `--config` names none; default: `./sallyport.yaml` if it exists',
  SALLYPORT_OPERATOR_TOKEN: 'the operator token of `npx sallyport …`',
  SALLYPORT_ENROLL_DEVICES_URL: 'where visitors find the enroll desk',
  SALLYPORT_ENROLL_OPERATOR_URL: 'where visitors find the operator API',
  SALLYPORT_GATEWAY_HTTPS_URL: 'where visitors find the HTTPS door',
  SALLYPORT_GATEWAY_MQTTS_URL: 'where visitors find the MQTT door',
}
