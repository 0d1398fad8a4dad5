/**
 * `signer verify`: the signer's log on its own files: each line follows the one before, and, with the registry beside it, each certificate
 * that was signed is on record, and each one on record was signed. Not the writing: src/enroll/signer/journal.ts.
 */

import { statSync } from 'node:fs'
import { InvalidArgumentError, type Command } from 'commander'
import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { CHAIN_START, chainFiles, follow, linesOf, type Head } from '#registry/chained-lines.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { CertificateSummary, Registry } from '#registry/registry.ts'
import { parseSignerLine } from '#wire/signer-log.ts'
import { command, show, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { pairs } from '../output.ts'
import { readConfig } from '../settings.ts'

/** Said one by one; of the rest only how many. */
const MOST_PROBLEMS = 100
const PAGE = 1_000
/** Certificates begin this long before they are made, in whole seconds. */
const BACKDATE = 5 * MINUTE + SECOND

type Report = {
  readonly files: readonly string[]
  lines: number
  certificates: number
  responders: number
  crls: number
  /** of the first line */
  begins_at: string | null
  head: Head
  /** bytes after the last whole line: being written, or cut off by a crash */
  unfinished_bytes: number
  compared_with: string | null
  problems_found: number
  readonly problems: string[]
}

const complain = (report: Report, problem: string): void => {
  report.problems_found += 1
  if (report.problems.length < MOST_PROBLEMS) report.problems.push(problem)
}

/** serial → the fingerprints that were signed under it; more than one when a crash came between signature and record */
type Signed = Map<string, string[]>

const readLog = (report: Report, expected: Head | undefined): Signed => {
  const signed: Signed = new Map()
  let head: Head | undefined = CHAIN_START
  for (const file of report.files) {
    let whole = 0
    for (const { text, end } of linesOf(file)) {
      whole = end
      const followed = follow(head, text)
      // said once, and read on from there
      if (!followed.ok) complain(report, `${file}: ${followed.problem}`)
      const taken = followed.ok ? followed : follow(undefined, text)
      head = taken.ok ? taken.head : undefined
      const line = parseSignerLine(text)
      if (line === undefined || head === undefined) {
        if (followed.ok) complain(report, `${file}: line ${followed.head.n} is of a form that is not ours`)
        continue
      }
      report.lines += 1
      report.begins_at ??= line.at
      if (expected?.n === head.n && expected.sha256 !== head.sha256)
        complain(report, `line ${head.n} is not the one that it was: it has hash ${head.sha256}`)
      if (line.kind === 'crl') report.crls += 1
      if (line.kind === 'responder') report.responders += 1
      if (line.kind !== 'device') continue
      report.certificates += 1
      const before = signed.get(line.serial)
      if (before === undefined) signed.set(line.serial, [line.sha256])
      else before.push(line.sha256)
    }
    report.unfinished_bytes = statSync(file).size - whole
  }
  report.head = head ?? report.head
  if (expected !== undefined && expected.n > report.head.n)
    complain(report, `line ${expected.n} is missing: the log ends with line ${report.head.n}`)
  return signed
}

type Recorded = Pick<CertificateSummary, 'serial' | 'fingerprint' | 'deviceId' | 'notBefore'>

const readRecords = async (registry: Registry): Promise<readonly Recorded[]> => {
  const records: Recorded[] = []
  let after: string | undefined
  do {
    const page = await registry.listCertificates({ limit: PAGE, after })
    for (const { serial, fingerprint, deviceId, notBefore } of page.items)
      records.push({ serial, fingerprint, deviceId, notBefore })
    after = page.next
  } while (after !== undefined)
  return records
}

/** Every certificate on record since the log began has its line, and the other way round. */
const compare = async (
  report: Report,
  signed: Signed,
  records: readonly Recorded[],
  registry: Registry,
): Promise<void> => {
  const begins = report.begins_at === null ? Infinity : Date.parse(report.begins_at)
  const unseen = new Set(signed.keys())
  for (const { serial, fingerprint, deviceId, notBefore } of records) {
    unseen.delete(serial)
    const lines = signed.get(serial)
    if (lines === undefined) {
      if (notBefore + BACKDATE >= begins)
        complain(report, `certificate ${serial} of ${deviceId} is on record, and the log has no line of it`)
    } else if (fingerprint !== undefined && !lines.includes(fingerprint))
      complain(report, `certificate ${serial} of ${deviceId} on record is not the one that was signed`)
  }
  for (const serial of unseen)
    // one that is only meant was signed in vain: its device has not come back for it
    if ((await registry.findCertificate(serial)) === undefined)
      complain(report, `certificate ${serial} was signed, and is not on record`)
}

const verify = async (o: {
  readonly path: string
  readonly registryPath: string | undefined
  readonly expected: Head | undefined
  readonly clock: Clock
}): Promise<Report> => {
  const report: Report = {
    files: chainFiles(o.path),
    lines: 0,
    certificates: 0,
    responders: 0,
    crls: 0,
    begins_at: null,
    head: CHAIN_START,
    unfinished_bytes: 0,
    compared_with: o.registryPath ?? null,
    problems_found: 0,
    problems: [],
  }
  if (o.registryPath === undefined) {
    readLog(report, o.expected)
    return report
  }
  await using registry = await openRegistry({ path: o.registryPath, clock: o.clock })
  // the registry first: what is issued meanwhile has its line before it is on record
  const records = await readRecords(registry)
  const signed = readLog(report, o.expected)
  await compare(report, signed, records, registry)
  return report
}

const readHead = (text: string): Head => {
  const [, n, sha256] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  if (n === undefined || sha256 === undefined)
    throw new InvalidArgumentError('Give a line number and its hash, as `12:<64 hex digits>`.')
  return { n: Number(n), sha256 }
}

type Options = Common & { readonly registry?: boolean; readonly head?: Head }

export const signerVerify = (io: Io): Command =>
  command('verify', "hold the signer's log against its own chain", 'signer verify --registry')
    .option(
      '--registry',
      'also hold it against the registry: what was signed is on record, and nothing else is',
    )
    .option('--head <n:sha256>', 'a line that was noted before must still be there, unchanged', readHead)
    .action(async (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const config = readConfig(io, options)
      const report = await verify({
        path: config.signer.log,
        registryPath: options.registry === true ? config.registry.path : undefined,
        expected: options.head,
        clock: io.clock,
      }).catch((cause: unknown): never => {
        const code = (cause as NodeJS.ErrnoException).code
        if (code === undefined || cause instanceof FleetError) throw cause
        throw new FleetError('not_found', `${config.signer.log} cannot be read: ${code}`, { cause })
      })
      show(io, options, report, () => [
        ...pairs([
          [
            'lines',
            `${report.lines} in ${report.files.length} file(s), since ${report.begins_at ?? 'never'}`,
          ],
          ['certificates', String(report.certificates)],
          ['OCSP responders', String(report.responders)],
          ['CRLs', String(report.crls)],
          ['head', `${report.head.n}:${report.head.sha256}`],
          ['unfinished', report.unfinished_bytes === 0 ? undefined : `${report.unfinished_bytes} bytes`],
          ['compared with', report.compared_with ?? undefined],
          ['problems', String(report.problems_found)],
        ]),
        ...report.problems.map((problem) => `  ${problem}`),
      ])
      if (report.problems_found > 0)
        throw new FleetError(
          'expectation_broken',
          `the log of the signer does not hold: ${report.problems_found} problem(s)`,
        )
    })
