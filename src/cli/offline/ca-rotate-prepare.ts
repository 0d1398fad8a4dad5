/**
 * `ca rotate prepare`: a further intermediate, made with the root's key where that is, and, when the desk runs here, told to it. The other
 * verbs of `ca rotate` need no key: the desk does them (../rotating.ts).
 */

import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { createIntermediate, type NewIntermediate } from '#pki/ceremony.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import type { IssuerScan } from '#wire/rest.ts'
import { online, show, statusUrl, type Online } from '../command.ts'
import { scan } from '../commands/issuer-scan.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'
import { hasOperatorToken, readConfig, statusUrlFor } from '../settings.ts'

type Options = Online & {
  readonly rootKey?: string
  readonly rootPassphraseFile?: string
  readonly passphraseFile?: string
  readonly out?: string
  readonly statusUrl?: string
}

/** The files are there whatever becomes of this: that nobody is there to be told is no failure. */
const tell = async (io: Io, options: Options): Promise<IssuerScan | undefined> => {
  if (!hasOperatorToken(io, readConfig(io, options), options)) return undefined
  try {
    return await scan(connect(io, options))
  } catch (error) {
    if (error instanceof FleetError && error.code === 'target_unreachable') return undefined
    throw error
  }
}

const rootOf = (path: string): string => {
  if (existsSync(path)) return readFileSync(path, 'utf8')
  throw new FleetError('config_invalid', `ca.root: ${path} does not exist`)
}

const answerOf = (made: NewIntermediate, registered: boolean, problems: readonly string[]) => ({
  ski: made.ski,
  common_name: made.commonName,
  not_after: new Date(made.notAfter).toISOString(),
  certificate: made.certificate,
  key: made.key,
  registered,
  problems,
})

export const caRotatePrepare = (io: Io): Command =>
  online('prepare', 'make a further intermediate under the root, with its key', 'ca rotate prepare')
    .option('--root-key <file>', "the root's private key (default: certs/private/root.key)")
    .option('--root-passphrase-file <file>', 'opens it, when it is encrypted (default: ca.passphrase_file)')
    .option('--passphrase-file <file>', 'encrypts the new key (default: ca.passphrase_file)')
    .option('--out <dir>', 'where both files go (default: ca.issuers, where the desk looks for them)')
    .option(
      '--status-url <url>',
      "where the root's CRL is served: the intermediate names it (default: enroll.status_url, when it is set)",
      statusUrl,
    )
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const config = readConfig(io, options)
      const at = (path: string): string => resolve(io.cwd, path)
      const passphraseIn = (file: string | undefined): string | undefined =>
        file === undefined
          ? config.ca.passphrase_file && readPrivateFile(config.ca.passphrase_file)
          : readPrivateFile(at(file))
      const rootPassphrase = passphraseIn(options.rootPassphraseFile)
      const passphrase = passphraseIn(options.passphraseFile)
      const rootKey =
        options.rootKey === undefined ? join(config.home, 'certs/private/root.key') : at(options.rootKey)
      const made = await createIntermediate({
        dir: options.out === undefined ? config.ca.issuers : at(options.out),
        rootPem: rootOf(config.ca.root),
        rootKeyPem: readPrivateFile(rootKey),
        now: io.clock(),
        statusUrl: statusUrlFor(config, options.statusUrl),
        ...(rootPassphrase === undefined ? {} : { rootPassphrase }),
        ...(passphrase === undefined ? {} : { passphrase }),
      })
      const found = options.out === undefined ? await tell(io, options) : undefined
      const registered = found?.items.some(({ ski }) => ski === made.ski) === true
      const problems = registered ? [] : (found?.problems ?? [])
      show(io, options, answerOf(made, registered, problems), () => [
        ...pairs([
          ['issuer', made.ski],
          ['name', made.commonName],
          ['until', new Date(made.notAfter).toISOString()],
          ['certificate', made.certificate],
          ['key', made.key],
        ]),
        '',
        ...problems.map((problem) => `The desk does not take it: ${problem}`),
        registered
          ? 'The desk knows it, and uses it for nothing yet. Next: npx sallyport ca rotate distribute'
          : "When both files are in the desk's ca.issuers, tell it: npx sallyport issuer scan",
      ])
    })
