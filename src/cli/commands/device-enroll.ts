/**
 * `device enroll`: this machine as a device. The key is made and written before anything is asked, and used again when the answer
 * was lost: repeating the command with the same credential completes it. Where an operator is to decide, it waits. Knows only what any
 * device knows (#device-sim/index.ts).
 */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'
import { isDeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { enrollDevice, newKey, refreshTrust, type Enrolled, type Identity } from '#device-sim/index.ts'
import { readPrivateFile, writePrivateFile } from '#runtime/secrets.ts'
import { command, show, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { quote } from '../output.ts'
import { readGiven } from '../read-given.ts'
import { findUrl, readConfig } from '../settings.ts'

type Options = Common & {
  readonly token?: string
  readonly group?: string
  readonly bootstrap?: string
  readonly bootstrapKey?: string
  readonly server?: string
  readonly ca?: string
  readonly caSha256?: string
  readonly out?: string
}

const FILES = {
  key: 'key.pem',
  cert: 'cert.pem',
  chain: 'chain.pem',
  full: 'full.pem',
  root: 'root.pem',
} as const

const deviceId = (text: string): string => {
  if (isDeviceId(text)) return text
  throw new InvalidArgumentError(
    'A device id is a letter or digit, then up to 63 of: letters, digits, . _ ~ : -',
  )
}

const sha256 = (text: string): string => {
  if (/^([0-9a-f]{2}:?){32}$/i.test(text)) return text
  throw new InvalidArgumentError('Give the SHA-256 of the root certificate, 64 hex digits.')
}

/** The key of an earlier, unfinished attempt; else a new one, on disk before it is used. */
const keyIn = async (path: string): Promise<string> => {
  if (existsSync(path)) return readPrivateFile(path)
  const made = await newKey('P-256')
  writePrivateFile(path, made)
  return made
}

const bootstrapOf = (io: Io, { bootstrap, bootstrapKey }: Options): Identity | undefined => {
  if (bootstrap === undefined && bootstrapKey === undefined) return undefined
  if (bootstrap === undefined || bootstrapKey === undefined)
    throw new FleetError('config_invalid', '--bootstrap and --bootstrap-key go together')
  const read = (path: string): string => readGiven(io, path).toString()
  return { certificatePem: read(bootstrap), keyPem: read(bootstrapKey), chainPem: '' }
}

/** cert.pem last: its presence says that all is there. */
const write = (paths: Record<keyof typeof FILES, string>, enrolled: Enrolled): void => {
  writeFileSync(paths.root, enrolled.rootPem)
  writeFileSync(paths.chain, enrolled.chainPem)
  writeFileSync(paths.full, `${enrolled.certificatePem.trimEnd()}\n${enrolled.chainPem}`)
  writeFileSync(paths.cert, enrolled.certificatePem)
}

export const deviceEnroll = (io: Io): Command =>
  command(
    'enroll',
    'enrol this machine as a device: makes its key, gets its certificate',
    'device enroll pump-7 --token spt1.… --server https://enroll.example.com:8443',
  )
    .argument('<id>', 'device id', deviceId)
    .option('--token <token>', 'a claim token, from `token create`')
    .option('--group <name>', 'enrolment group, where there is no token: by registered id, or by approval')
    .option('--bootstrap <file>', "the manufacturer's certificate with its intermediates, PEM, as credential")
    .option('--bootstrap-key <file>', 'its key, PEM')
    .option('--server <url>', "the enroll desk's device listener (default: the running desk's)")
    .option('--ca <file>', 'the root to trust, PEM (default: asked for, and checked against the token)')
    .option('--ca-sha256 <hex>', 'SHA-256 of the root to trust (default: as the token says)', sha256)
    .option('--out <dir>', 'where the files go (default: ./<id>)')
    .action(async (id: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const config = readConfig(io, options)
      const server = findUrl(io, config, 'devices', options.server)
      const out = resolve(io.cwd, options.out ?? id)
      const paths = {
        key: join(out, FILES.key),
        cert: join(out, FILES.cert),
        chain: join(out, FILES.chain),
        full: join(out, FILES.full),
        root: join(out, FILES.root),
      }
      if (existsSync(paths.cert))
        throw new FleetError(
          'conflict',
          `${paths.cert} exists, and is not overwritten. Choose another place with --out, or move ${out} away.`,
        )
      if (options.token === undefined && options.ca === undefined && options.caSha256 === undefined)
        throw new FleetError(
          'config_invalid',
          'give a claim token (--token); or, to enrol without one, say which root to trust (--ca or --ca-sha256)',
        )
      const bootstrap = bootstrapOf(io, options)
      const given = options.ca === undefined ? {} : { rootPem: readGiven(io, options.ca).toString() }
      mkdirSync(out, { recursive: true, mode: 0o700 })
      const enrolled = await enrollDevice({
        server,
        token: options.token,
        group: options.group,
        bootstrap,
        id,
        keyPem: await keyIn(paths.key),
        onWaiting: ({ requestId, retryAfter }) => {
          if (options.json === true) return
          io.err.write(
            `waiting for an operator: npx sallyport request approve ${requestId}; asking again in ${retryAfter} s\n`,
          )
        },
        ...given,
        ...(options.caSha256 === undefined ? {} : { rootSha256: options.caSha256 }),
      })
      // during a rotation there are several: the one that was pinned, and the one that servers will have next
      const rootPem = await refreshTrust({ server, identity: enrolled, rootPem: enrolled.rootPem }).catch(
        () => enrolled.rootPem,
      )
      write(paths, { ...enrolled, rootPem })
      const answer = {
        device_id: enrolled.deviceId,
        serial: enrolled.serial,
        not_after: new Date(enrolled.notAfter).toISOString(),
        renew_after: new Date(enrolled.renewAfter).toISOString(),
        files: paths,
      }
      const shown = (path: string): string => {
        const near = relative(io.cwd, path)
        return quote(near.startsWith('..') ? path : near)
      }
      show(io, options, answer, () => [
        `device ${answer.device_id} is enrolled until ${answer.not_after}`,
        `  key            ${shown(paths.key)}`,
        `  certificate    ${shown(paths.cert)}, with its intermediates ${shown(paths.full)}`,
        `  intermediates  ${shown(paths.chain)}`,
        `  root           ${shown(paths.root)}`,
      ])
    })
