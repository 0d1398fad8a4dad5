/**
 * Issuers as configured, and on record: `ca.intermediate` and what lies in `ca.issuers`, one opener for each. What is wrong is said with
 * the setting or the file. Not the key: that stays in #pki/issuer.ts. Not which one signs: issuers.ts.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import type { FoundIssuers, IssuerPlace } from './issuers.ts'
import { openRemoteIssuer } from './signer/remote-issuer.ts'

/** More are no rotation. */
const MOST_FILES = 100

const invalid = (detail: string, cause?: unknown): FleetError =>
  new FleetError('config_invalid', detail, { cause })

/** @throws FleetError `config_invalid`, with the setting */
const readPublicFile = (key: string, path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw invalid(
      `${key}: got ${path} (${code}), expected a PEM file; \`npm start\` makes one for development, \`sallyport ca init\` for production`,
      cause,
    )
  }
}

/** The first certificate of a public file. @throws FleetError `config_invalid`, with the setting */
export const readFirst = (key: string, path: string): CertificateFacts =>
  readAllIn(key, path)[0] as CertificateFacts

/** @returns one at least. @throws FleetError `config_invalid` */
export const readAllIn = (key: string, path: string): readonly CertificateFacts[] => {
  const text = readPublicFile(key, path)
  try {
    return readCertificates(text)
  } catch (cause) {
    const why = cause instanceof FleetError ? cause.detail : 'not a certificate'
    throw invalid(`${key} (${path}): cannot be read: ${why}`, cause)
  }
}

/** Where the files are; what is in them has not been read. */
type Place = Omit<IssuerPlace, 'ski' | 'spkiSha256' | 'notAfter'>

/** What `ca.intermediate` and `ca.intermediate_key` say. */
const configuredPlace = ({ ca }: Config): Place => ({
  name: `ca.intermediate (${ca.intermediate})`,
  certificate: ca.intermediate,
  key: ca.intermediate_key,
  configured: true,
})

const identified = (setting: string, place: Place): IssuerPlace => {
  const { subjectKeyId, spkiSha256, notAfter } = readFirst(setting, place.certificate)
  // without one it is no issuer: said when it is opened
  return { ...place, ski: subjectKeyId ?? '', spkiSha256, notAfter }
}

const NAMED = /^([0-9a-f]{2,64})\.pem$/

const namesIn = (dir: string): readonly string[] => {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith('.pem'))
      .toSorted()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return []
    throw invalid(`ca.issuers (${dir}): cannot be read (${code ?? String(cause)})`, cause)
  }
}

const placeIn = (dir: string, name: string): IssuerPlace => {
  const certificate = join(dir, name)
  const ski = NAMED.exec(name)?.[1]
  if (ski === undefined) throw invalid(`${certificate}: expected the subject key id as its name`)
  const place = { name: certificate, certificate, key: join(dir, `${ski}.key`), configured: false }
  const found = identified('ca.issuers', place)
  if (found.ski !== ski)
    throw invalid(`${certificate}: its subject key id is ${found.ski || 'missing'}, and not its name`)
  return found
}

/**
 * The issuers whose files are here now, the configured one first. None is opened. What cannot be one is a problem, and hides nothing
 * else; also `ca.intermediate`, which is `failed` then. Never throws.
 */
export const lookForIssuers = (config: Config): FoundIssuers => {
  const problems: string[] = []
  const attempt = <T>(act: () => T, otherwise: T, failed: (error: Error) => void): T => {
    try {
      return act()
    } catch (error) {
      failed(error as Error)
      return otherwise
    }
  }
  const isProblem = (error: Error): void => {
    problems.push(error instanceof FleetError ? error.detail : String(error))
  }
  let failed: Error | undefined
  const first = attempt(
    (): readonly IssuerPlace[] => [identified('ca.intermediate', configuredPlace(config))],
    [],
    (error) => (failed = error),
  )
  const { issuers: dir } = config.ca
  const names = attempt(() => namesIn(dir), [], isProblem)
  if (names.length > MOST_FILES)
    problems.push(`ca.issuers (${dir}): only the first ${MOST_FILES} are looked at`)
  const further = names
    .slice(0, MOST_FILES)
    .flatMap((name) => attempt((): readonly IssuerPlace[] => [placeIn(dir, name)], [], isProblem))
  return { places: [...first, ...further], problems, failed }
}

/** As {@link lookForIssuers}, for who cannot do without `ca.intermediate`. @throws FleetError `config_invalid`: it cannot be read */
export const findIssuers = (config: Config): FoundIssuers => {
  const found = lookForIssuers(config)
  if (found.failed !== undefined) throw found.failed
  return found
}

/**
 * Certificates that are out there name the old URL for as long as they live, so another one needs a word: in production the old
 * value, in `enroll.status_url_before`. In development, where ports change with every start, the log and the audit say it.
 * @param signed it may have signed: what never did has no certificates out there
 */
const keepStatusUrl = async (
  o: { readonly config: Config; readonly registry: Registry; readonly log: Log },
  issuerSki: string,
  signed: boolean,
  now: number,
): Promise<void> => {
  const { environment, enroll } = o.config
  const keep = { issuerSki, url: enroll.status_url, now, actor: 'system' }
  const before = await o.registry.keepStatusUrl({ ...keep, replace: false })
  if (before === enroll.status_url) return
  if (signed && environment === 'production' && enroll.status_url_before !== before) {
    throw invalid(
      `enroll.status_url: got ${enroll.status_url}, expected ${before}, which stands in certificates already issued; to change it all the same, set enroll.status_url_before to ${before} and keep that URL answering`,
    )
  }
  await o.registry.keepStatusUrl({ ...keep, replace: true })
  if (signed)
    o.log.warn(
      { before, after: enroll.status_url },
      'enroll.status_url has changed: older certificates name the old one',
    )
}

const certificatesOf = ({ ca, enroll }: Config, { configured, certificate }: Place) => ({
  rootPem: readPublicFile('ca.root', ca.root),
  intermediatePem: readPublicFile(configured ? 'ca.intermediate' : 'ca.issuers', certificate),
  statusUrl: enroll.status_url,
})

/** With its key, in this process. @throws FleetError `config_invalid`: a file; `issuer_unusable`: what is in it */
export const openLocalIssuer = async (config: Config, place: Place, now: number): Promise<Issuer> => {
  const { passphrase_file: passphraseFile } = config.ca
  return await openIssuer({
    ...certificatesOf(config, place),
    keyPem: readPrivateFile(place.key),
    ...(passphraseFile === undefined ? {} : { passphrase: readPrivateFile(passphraseFile) }),
    now,
  })
}

/**
 * A CA certificate that was made anew for the same key is the same issuer, with a later end. Another name is not: the certificates that
 * are out there name the old one. One that ends sooner (files of before) changes nothing on record.
 * @returns what it takes the place of, for the registry. @throws `conflict`
 */
const replacedBy = (
  { der, subjectDer, notAfter }: CertificateFacts,
  known: IssuerRecord | undefined,
): Uint8Array | undefined => {
  if (known === undefined || Buffer.compare(known.der, der) === 0) return undefined
  const before = readCertificate(known.der)
  if (Buffer.compare(before.subjectDer, subjectDer) !== 0)
    throw new FleetError('conflict', `another subject is on record under the subject key id ${known.ski}`)
  return notAfter > before.notAfter ? known.der : undefined
}

const putOnRecord = async (
  registry: Registry,
  { ski, certificate }: Issuer,
  { configured }: Place,
  now: number,
): Promise<IssuerRecord> => {
  const { der, spkiSha256 } = certificate
  const records = await registry.issuers()
  const replaces = replacedBy(
    certificate,
    records.find((known) => known.ski === ski),
  )
  const state = configured && records.length === 0 ? 'active' : 'prepared'
  return registry.registerIssuer({ ski, der, spkiSha256, state, replaces }, now)
}

/**
 * Opens it, and puts it on record when it is not yet. The very first, `ca.intermediate`, as active; every other one as prepared, wherever
 * it is configured: files that were replaced must not sign before anybody has been told of them. Whatever its state is: issuers.ts looks
 * at that.
 * @param o.place default: `ca.intermediate`
 * @throws FleetError `config_invalid`: which file, and why it cannot be an issuer; `registry_unavailable`
 */
export const openConfiguredIssuer = async (o: {
  readonly config: Config
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Log
  readonly place?: Place
}): Promise<Issuer> => {
  const { ca } = o.config
  const place = o.place ?? configuredPlace(o.config)
  const now = o.clock()
  /** Said of the file, whatever was wrong with it. */
  const ofPlace =
    (code: FleetError['code']) =>
    (error: unknown): never => {
      if (!(error instanceof FleetError) || error.code !== code) throw error
      throw invalid(`${place.name}: ${error.detail}`, error)
    }
  const issuer = await (
    ca.signer === undefined
      ? openLocalIssuer(o.config, place, now)
      : openRemoteIssuer({ ...certificatesOf(o.config, place), socket: ca.signer, now, log: o.log })
  ).catch(ofPlace('issuer_unusable'))
  try {
    const { state } = await putOnRecord(o.registry, issuer, place, now).catch(ofPlace('conflict'))
    await keepStatusUrl(o, issuer.ski, state !== 'prepared' && state !== 'offered', now)
  } catch (error) {
    // else each look would leave another connection to a signer behind
    await issuer[Symbol.asyncDispose]()
    throw error
  }
  return issuer
}
