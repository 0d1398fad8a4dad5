/**
 * `ca crl`: the root's CRL, made with the root's key where that is, from the CRL before it. And, with `--import`, given to the desk that
 * serves it. Not the CRLs of the issuing CAs: the desk makes those by itself.
 */

import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import { parseDuration } from '#fleet/duration.ts'
import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import { readCertificates } from '#pki/certificate.ts'
import { issuedBy } from '#pki/chain.ts'
import { fromPem, toPem } from '#pki/pem.ts'
import { readRoot, signRootCrl, type RootCrl } from '#pki/root-crl.ts'
import { serialFromText } from '#pki/serial.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import type { CrlItem } from '#wire/revocations.ts'
import { collect, duration, online, reasonOption, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'
import { readGiven } from '../read-given.ts'
import { readConfig } from '../settings.ts'

type Options = Online & {
  readonly revoke?: readonly string[]
  readonly reason: GivenRevocationReason
  readonly nextUpdate: string
  readonly previous?: string
  readonly out?: string
  readonly rootKey?: string
  readonly passphraseFile?: string
  readonly first?: boolean
  readonly import?: string
  readonly force?: boolean
}

/** DER, or PEM around it. */
const readCrlFile = (io: Io, path: string): Uint8Array => {
  const octets = readGiven(io, path)
  if (octets[0] === 0x30) return octets
  const [der, ...more] = fromPem(octets.toString('latin1'), 'X509 CRL')
  if (der === undefined || more.length > 0) throw new FleetError('bad_request', `${path}: expected one CRL`)
  return der
}

/** A certificate file, which must be the root's, or a serial. */
const serialOf = (io: Io, text: string, root: CertificateFacts): string => {
  if (existsSync(resolve(io.cwd, text))) {
    const [certificate] = readCertificates(readGiven(io, text).toString())
    if (certificate === undefined || !issuedBy(certificate, root))
      throw new FleetError(
        'bad_request',
        `${text}: not issued by this root; only its own issuer can revoke it`,
      )
    return certificate.serial
  }
  const serial = serialFromText(text)
  if (serial === undefined)
    throw new FleetError('config_invalid', `${text}: neither a certificate file nor a serial in hex`)
  return serial
}

const answerOf = (file: string, issuer: string, crl: RootCrl) => ({
  file,
  issuer,
  number: String(crl.number),
  this_update: new Date(crl.thisUpdate).toISOString(),
  next_update: new Date(crl.nextUpdate).toISOString(),
  revoked: crl.entries.map(({ serial, revokedAt, reason }) => ({
    serial,
    revoked_at: new Date(revokedAt).toISOString(),
    reason,
  })),
})

/**
 * The CRL before this one. Without it, what it revoked would be good again: so that it is missing must be meant.
 * @returns DER; undefined: this is the first
 */
const previousOf = (io: Io, path: string, options: Options): Uint8Array | undefined => {
  const there = existsSync(path)
  if (options.first !== true) {
    if (there) return readCrlFile(io, path)
    throw new FleetError(
      'config_invalid',
      `${path}: there is no CRL before this one. Name it with --previous (the desk serves it at /crl/<root>.crl), or say --first if there was never one`,
    )
  }
  if (there || options.previous !== undefined)
    throw new FleetError('config_invalid', `${path}: with a CRL before it, it is not the first one`)
  return undefined
}

const make = async (io: Io, options: Options): Promise<void> => {
  const config = readConfig(io, options)
  const at = (path: string): string => resolve(io.cwd, path)
  const inCerts = (name: string): string => join(config.home, 'certs', name)
  const root = readRoot(readGiven(io, config.ca.root).toString())
  const out = options.out === undefined ? inCerts('root.crl') : at(options.out)
  const before = options.previous === undefined ? out : at(options.previous)
  const passphrase =
    options.passphraseFile === undefined ? config.ca.passphrase_file : at(options.passphraseFile)
  const crl = await signRootCrl({
    root,
    keyPem: readPrivateFile(
      options.rootKey === undefined ? inCerts('private/root.key') : at(options.rootKey),
    ),
    passphrase: passphrase === undefined ? undefined : readPrivateFile(passphrase),
    previous: previousOf(io, before, options),
    revoke: (options.revoke ?? []).map((text) => ({
      serial: serialOf(io, text, root),
      reason: options.reason,
    })),
    now: io.clock(),
    ttl: parseDuration(options.nextUpdate) ?? 90 * DAY,
  })
  writeFileSync(`${out}.new`, toPem('X509 CRL', crl.der), { mode: 0o644, flush: true })
  renameSync(`${out}.new`, out)
  const answer = answerOf(out, root.subjectKeyId ?? '', crl)
  show(io, options, answer, () => [
    ...pairs([
      ['file', answer.file],
      ['number', answer.number],
      ['from', answer.this_update],
      ['until', answer.next_update],
    ]),
    ...answer.revoked.map(
      ({ serial, revoked_at, reason }) => `  revoked ${serial}  ${revoked_at}  ${reason}`,
    ),
    ...(answer.revoked.length === 0 ? ['  nothing is revoked'] : []),
    '',
    `Give it to the desk, which serves it: npx sallyport ca crl --import ${out}`,
    'Keep the file: the next one is made from it.',
  ])
}

const give = async (io: Io, options: Options, file: string): Promise<void> => {
  const crl = toPem('X509 CRL', readCrlFile(io, file))
  const taken = await connect(io, options).call<CrlItem>('POST', '/v1/crls', {
    body: options.force === true ? { crl, force: true } : { crl },
  })
  show(io, options, taken, () => [
    `CRL ${taken.number} of ${taken.issuer} is served at ${taken.path} until ${taken.next_update}`,
  ])
}

export const caCrl = (io: Io): Command =>
  online(
    'crl',
    "make the root's CRL with the root's key, or give one to the desk",
    'ca crl --revoke old-intermediate.pem --reason cACompromise',
  )
    .option('--revoke <file-or-serial>', 'an intermediate of this root; may be repeated', collect)
    .addOption(reasonOption('RFC 5280 reason of those'))
    .option('--next-update <duration>', 'how long it is good for', duration, '90d')
    .option('--previous <file>', 'the CRL before it, whose entries stay (default: the --out file)')
    .option('--out <file>', 'where it goes (default: certs/root.crl)')
    .option('--root-key <file>', "the root's private key (default: certs/private/root.key)")
    .option('--passphrase-file <file>', 'opens that key (default: ca.passphrase_file)')
    .option('--first', 'there was never one before it')
    .option('--import <file>', 'makes nothing: gives this CRL to the running desk')
    .option('--force', 'with --import: it may leave out what the one before it lists')
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      await (options.import === undefined ? make(io, options) : give(io, options, options.import))
    })
