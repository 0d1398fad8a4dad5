/**
 * `signer verify`: the signer's log on its own files: each line follows the one before, and, with the registry beside it, each certificate
 * that was signed is on record, and each one on record was signed. Not the writing: src/enroll/signer/journal.ts.
 */

import { statSync } from 'node:fs'
import { InvalidArgumentError, type Command } from 'commander'
import { MINUTE, SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { CHAIN_START, chainFiles, follow, linesOf, type Head } from '#registry/chained-lines.ts'
import type { SignedCertificate, SignedRecords } from '#registry/signed.ts'
import { openSignedRecords } from '#registry/sqlite.ts'
import { parseSignerLine, type SignerLine } from '#wire/signer-log.ts'
import { command, show, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { pairs } from '../output.ts'
import { readConfig } from '../settings.ts'

/** Said one by one; of the rest only how many. */
const MOST_PROBLEMS = 100
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

/** Where each kind of line is counted. */
const COUNTED = { device: 'certificates', responder: 'responders', crl: 'crls' } as const

/** @param onLine each that is whole and of ours, of what was signed */
const readLog = (
  report: Report,
  expected: Head | undefined,
  onLine: (line: Exclude<SignerLine, { kind: 'opened' }>) => void,
): void => {
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
      if (line.kind === 'opened') continue
      report[COUNTED[line.kind]] += 1
      onLine(line)
    }
    report.unfinished_bytes = statSync(file).size - whole
  }
  report.head = head ?? report.head
  if (expected !== undefined && expected.n > report.head.n)
    complain(report, `line ${expected.n} is missing: the log ends with line ${report.head.n}`)
}

type Line<K extends SignerLine['kind']> = Extract<SignerLine, { kind: K }>
/** `lines`: how many it has; `isThere`: one of them is what was recorded; `isStrange`: one is of something else */
type Held = SignedCertificate & { lines: number; isThere: boolean; isStrange: boolean }

const isAbout = (
  line: Line<'device' | 'responder'>,
  of: { issuerSki: string; spkiSha256: string },
): boolean => line.ski === of.issuerSki && line.spki_sha256 === of.spkiSha256

/**
 * Every certificate on record since the log began has its line, and every line is on record: certificates, OCSP responders, CRLs.
 *
 * Certificates are read before the log, for one that is issued meanwhile has its line before it is recorded; what nobody but the desk asks
 * for, after it, for that is on record before it has its line.
 */
const compare = async (
  report: Report,
  expected: Head | undefined,
  registry: SignedRecords,
): Promise<void> => {
  const records = new Map<string, Held>()
  for await (const record of registry.certificates())
    records.set(record.serial, { ...record, lines: 0, isThere: false, isStrange: false })
  const unknown: Line<'device'>[] = []
  const responders = new Map<string, Line<'responder'>[]>()
  const crls: Line<'crl'>[] = []

  const isOf = (line: Line<'device'>, record: SignedCertificate): boolean =>
    isAbout(line, record) && line.device_id === record.deviceId
  const notThatOne = ({ serial, deviceId }: SignedCertificate): void =>
    complain(report, `certificate ${serial} of ${deviceId} on record is not the one that was signed`)

  const takers: { readonly [K in keyof typeof COUNTED]: (line: Line<K>) => void } = {
    device: (line) => {
      const record = records.get(line.serial)
      if (record === undefined) {
        unknown.push(line)
        return
      }
      record.lines += 1
      // signed again after a crash, it has another signature, and is the same for the rest
      if (!isOf(line, record)) record.isStrange = true
      if (line.sha256 === record.fingerprint) record.isThere = true
    },
    responder: (line) => responders.set(line.serial, [...(responders.get(line.serial) ?? []), line]),
    crl: (line) => crls.push(line),
  }
  readLog(report, expected, (line) => (takers[line.kind] as (line: SignerLine) => void)(line))

  const begins = report.begins_at === null ? Infinity : Date.parse(report.begins_at)
  for (const record of records.values()) {
    // one that is only meant may have been signed in vain: its device has not come back for it
    const isRecorded = record.fingerprint !== undefined
    if (record.isStrange || (isRecorded && record.lines > 0 && !record.isThere)) notThatOne(record)
    if (isRecorded && record.lines === 0 && record.notBefore + BACKDATE >= begins)
      complain(
        report,
        `certificate ${record.serial} of ${record.deviceId} is on record, and the log has no line of it`,
      )
  }
  for (const line of unknown) {
    const record = await registry.certificate(line.serial)
    if (record === undefined) complain(report, `certificate ${line.serial} was signed, and is not on record`)
    else if (!isOf(line, record)) notThatOne(record)
  }
  for await (const record of registry.responders())
    if (responders.get(record.serial)?.every((line) => isAbout(line, record)) === true)
      responders.delete(record.serial)
  for (const serial of responders.keys())
    complain(report, `OCSP responder ${serial} was signed, and is not on record`)
  for (const { ski, number } of crls)
    if (!(await registry.isCrlNumber(ski, number)))
      complain(report, `CRL ${number} of issuer ${ski} was signed, and is not on record`)
}

const verify = async (o: {
  readonly path: string
  readonly registryPath: string | undefined
  readonly expected: Head | undefined
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
  if (o.registryPath === undefined) readLog(report, o.expected, () => undefined)
  else {
    await using registry = await openSignedRecords({ path: o.registryPath })
    await compare(report, o.expected, registry)
  }
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
