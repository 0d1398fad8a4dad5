/**
 * What the gateway has in files for its brokers: whom it trusts, its own certificate, its password. Read at start, and the files looked at
 * again now and then, so that a renewal drops nobody. What cannot be used then changes nothing, and is logged.
 */

import { X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Config } from '#runtime/config.ts'
import { readKeyPair, readPublicFile, stampOf } from '#runtime/key-pair.ts'
import type { Log } from '#runtime/log.ts'
import { readPrivateFile } from '#runtime/secrets.ts'

const LOOK_EVERY = 5 * SECOND
/** MQTT 3.1.1 §3.1.3.5: two octets of length. */
const LONGEST_PASSWORD = 65_535

export type BrokerFiles = Pick<
  Config['mqtt'],
  'upstream_ca' | 'upstream_cert' | 'upstream_key' | 'upstream_password_file'
>

export type Credentials = Disposable & {
  /** for `mqtts://` brokers */
  context(): SecureContext
  password(): Uint8Array | undefined
}

type Contents = { readonly context: SecureContext; readonly password: Uint8Array | undefined }

const PAIR = { cert: 'mqtt.upstream_cert', key: 'mqtt.upstream_key' }

/** OpenSSL leaves out what it cannot read, and would then trust nobody, or fewer than were meant. */
const readRoots = (path: string): string[] => {
  const text = readPublicFile('mqtt.upstream_ca', path)
  const roots = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  try {
    if (roots.length === 0) throw new Error('no certificate')
    for (const root of roots) void new X509Certificate(root)
  } catch (cause) {
    throw new FleetError('config_invalid', `mqtt.upstream_ca: ${path} holds no certificates in PEM`, {
      cause,
    })
  }
  return roots
}

const readPassword = (path: string): Uint8Array => {
  const password = Buffer.from(readPrivateFile(path))
  if (password.length > 0 && password.length <= LONGEST_PASSWORD) return password
  throw new FleetError('config_invalid', `mqtt.upstream_password_file: ${path} holds no password`)
}

const read = (files: BrokerFiles): Contents => {
  const { upstream_ca: ca, upstream_cert: cert, upstream_key: key, upstream_password_file: password } = files
  try {
    return {
      context: createSecureContext({
        minVersion: 'TLSv1.2',
        ...(ca === undefined ? {} : { ca: readRoots(ca) }),
        ...(cert === undefined || key === undefined ? {} : readKeyPair({ cert, key }, PAIR)),
      }),
      password: password === undefined ? undefined : readPassword(password),
    }
  } catch (cause) {
    if (cause instanceof FleetError) throw cause
    throw new FleetError('config_invalid', 'mqtt.upstream_cert or mqtt.upstream_key cannot be used', {
      cause,
    })
  }
}

const pathsOf = (files: BrokerFiles): readonly (string | undefined)[] => [
  files.upstream_ca,
  files.upstream_cert,
  files.upstream_key,
  files.upstream_password_file,
]

/** @throws FleetError `config_invalid` */
export const openCredentials = (files: BrokerFiles, log: Log, lookEvery = LOOK_EVERY): Credentials => {
  const paths = pathsOf(files)
  let stamp = stampOf(paths)
  let refused = ''
  let contents = read(files)
  const look = (): void => {
    const seen = stampOf(paths)
    if (seen === stamp || seen === refused) return
    try {
      contents = read(files)
      stamp = seen
      log.info({ door: 'mqtt' }, 'the files for the brokers were read again')
    } catch (err) {
      // a certificate and its key are two files: between the two writes they do not fit
      refused = seen
      log.warn({ door: 'mqtt', err }, 'the new files for the brokers are not usable yet')
    }
  }
  const isAny = paths.some((path) => path !== undefined)
  const timer = isAny ? setInterval(look, lookEvery).unref() : undefined
  return {
    context: () => contents.context,
    password: () => contents.password,
    [Symbol.dispose]: () => clearInterval(timer),
  }
}
