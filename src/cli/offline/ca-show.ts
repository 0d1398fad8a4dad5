/**
 * `ca show`: the CA as sentences, then the certificates that the configuration points at, as the desks would read them. From files and the
 * registry, which is only read; no desk is asked.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { CertificateFacts, IssuerState } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { between } from '#pki/chain.ts'
import { judgeClientCa } from '#pki/client-ca.ts'
import { chainInWords, refusalOf, type IssuerInWords } from '#pki/chain-words.ts'
import { openRegistryReader } from '#registry/sqlite.ts'
import type { Config } from '#runtime/config.ts'
import { command, show, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { pairs } from '../output.ts'
import { readConfig } from '../settings.ts'

const instant = (ms: number): string => new Date(ms).toISOString()

const allIn = (path: string): readonly CertificateFacts[] =>
  existsSync(path) ? readCertificates(readFileSync(path, 'utf8')) : []

const first = (path: string): CertificateFacts | undefined => allIn(path)[0]

const describe = (path: string, facts: CertificateFacts) => ({
  file: path,
  common_name: facts.commonName ?? null,
  sha256: facts.fingerprint,
  subject_key_id: facts.subjectKeyId ?? null,
  serial: facts.serial,
  key: facts.key.kind,
  not_before: instant(facts.notBefore),
  not_after: instant(facts.notAfter),
})

type Described = ReturnType<typeof describe>

/** Subject key ids of the issuers whose key lies here. Whether it opens is the desk's to find. undefined: this user may not look. */
const keysHere = ({ ca }: Config): ReadonlySet<string> | undefined => {
  try {
    const further = existsSync(ca.issuers)
      ? readdirSync(ca.issuers)
          .filter((name) => name.endsWith('.key'))
          .map((name) => name.slice(0, -'.key'.length))
      : []
    const configured = existsSync(ca.intermediate_key) ? first(ca.intermediate)?.subjectKeyId : undefined
    return new Set([...further, ...(configured === undefined ? [] : [configured])])
  } catch {
    return undefined
  }
}

/** What stands between an issuer and the root is in the file of its certificate, below it. Which of two files is the issuer's, its key says. */
const chainOf = ({ ca }: Config, facts: CertificateFacts): readonly CertificateFacts[] | undefined => {
  const root = first(ca.root)
  if (root === undefined) return undefined
  try {
    const files = [ca.intermediate, join(ca.issuers, `${facts.subjectKeyId}.pem`)].map(allIn)
    const own = files.filter(([issuer]) => issuer?.spkiSha256 === facts.spkiSha256)
    const above = own.flat()
    // of two ways up the one that a desk takes
    const fit = above.filter((ca) => judgeClientCa(ca) === undefined)
    return between(facts, root, fit) ?? between(facts, root, above)
  } catch {
    // not to be read by this user, or no certificates: it is looked at by the desk
    return undefined
  }
}

type OnRecord = { readonly ski: string; readonly words: IssuerInWords }

/** undefined: there is no registry here, or it cannot be read. */
const readRecords = async (config: Config, now: number): Promise<readonly OnRecord[] | undefined> => {
  const { path } = config.registry
  if (!existsSync(path)) return undefined
  const keys = keysHere(config)
  try {
    await using registry = await openRegistryReader({ path, patience: 0 })
    const [records, live] = [await registry.issuers(), await registry.liveCertificates(now)]
    return records.map(({ ski, der, state, offeredAt }) => {
      const facts = readCertificate(der)
      return {
        ski,
        words: {
          facts,
          between: chainOf(config, facts),
          state,
          offeredAt,
          live: live.get(ski) ?? 0,
          keyHere: keys?.has(ski),
        },
      }
    })
  } catch (error) {
    if (error instanceof FleetError) return undefined
    throw error
  }
}

/** Before the first start: what is configured will be registered as active, and no other one ever is by being configured. */
const fromFiles = (config: Config): readonly OnRecord[] => {
  const facts = first(config.ca.intermediate)
  if (facts?.subjectKeyId === undefined) return []
  const state: IssuerState = 'active'
  return [
    {
      ski: facts.subjectKeyId,
      words: {
        facts,
        between: chainOf(config, facts),
        state,
        offeredAt: undefined,
        live: undefined,
        keyHere: undefined,
      },
    },
  ]
}

const issuerToWire = ({ ski, words }: OnRecord) => ({
  subject_key_id: ski,
  common_name: words.facts.commonName ?? null,
  state: words.state,
  not_after: instant(words.facts.notAfter),
  offered_at: words.offeredAt === undefined ? null : instant(words.offeredAt),
  live_certificates: words.live ?? null,
  key_here: words.keyHere ?? null,
})

const lines = (name: string, facts: Described): readonly string[] => [
  `${name}: ${facts.common_name ?? '(no name)'}`,
  ...pairs([
    ['  file', facts.file],
    ['  sha256', facts.sha256],
    ['  key', facts.key],
    ['  from', facts.not_before],
    ['  until', facts.not_after],
  ]),
]

export const caShow = (io: Io): Command =>
  command('show', 'show the CA: who signs, until when, and what is on the way in or out', 'ca show').action(
    async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Common>()
      const config = readConfig(io, options)
      const now = io.clock()
      const files = {
        root: config.ca.root,
        intermediate: config.ca.intermediate,
        services: join(config.home, 'certs', 'services.pem'),
        server: config.tls.cert,
      }
      const found = Object.entries(files).flatMap(([name, path]) => {
        const facts = first(path)
        return facts === undefined ? [] : [[name, describe(path, facts)] as const]
      })
      if (found.length === 0)
        throw new FleetError('not_found', `no CA at ${files.root}. Make one: npx sallyport ca init`)
      const onRecord = await readRecords(config, now)
      const records = onRecord === undefined || onRecord.length === 0 ? fromFiles(config) : onRecord
      const root = first(files.root)
      // the newest active one whose key is here and that the desk opens, as it chooses
      const signing = records.findLast(
        ({ words }) =>
          words.state === 'active' &&
          words.keyHere !== false &&
          (root === undefined || refusalOf(words, root) === undefined),
      )?.ski
      const inWords =
        root === undefined
          ? []
          : chainInWords({ root, issuers: records.map(({ words }) => words), signing, now })
      const answer = { ...Object.fromEntries(found), issuers: records.map(issuerToWire), in_words: inWords }
      show(io, options, answer, () => [
        ...inWords,
        ...found.flatMap(([name, facts]) => ['', ...lines(name, facts)]),
      ])
    },
  )
