/**
 * Where the results of a run go: looked at before it begins, for an hour's run whose report cannot be written is a lost hour; written
 * beside and renamed, so that nobody ever sees half of one. Not what stands in them: device-sim/report.
 */

import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'

export type ResultFile<R> = {
  /** of the command line: `--html` */
  readonly option: string
  /** as it was typed */
  readonly path: string
  readonly write: (report: R) => string
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** What a person would say. */
const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'its directory does not exist',
  ENOTDIR: 'its directory is no directory',
  EACCES: 'it may not be written there',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EISDIR: 'it is a directory',
}
const whyOf = (error: unknown): string => WHY[codeOf(error)] ?? codeOf(error)

const beside = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)

/** Whole and on the disk, or not at all. @throws what the file system says */
const writeWhole = (path: string, text: string): void => {
  const temporary = beside(path)
  const fd = openSync(temporary, 'wx', 0o644)
  try {
    try {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** @throws `config_invalid` with the option: a file cannot be made there, or two results would be one file */
export const checkResultFiles = (files: readonly ResultFile<never>[], cwd: string): void => {
  const paths = new Map<string, string>()
  for (const { option, path } of files) {
    const whole = resolve(cwd, path)
    const refuse = (why: string): never => {
      throw new FleetError('config_invalid', `${option} ${path}: ${why}`)
    }
    const other = paths.get(whole)
    if (other !== undefined) refuse(`${other} goes there too`)
    paths.set(whole, option)
    // a device such as /dev/null would be replaced
    if (statSync(whole, { throwIfNoEntry: false })?.isFile() === false) refuse('it is there, and is no file')
    const temporary = beside(whole)
    try {
      closeSync(openSync(temporary, 'wx', 0o644))
      rmSync(temporary)
    } catch (error) {
      refuse(whyOf(error))
    }
  }
}

/** All of them, whatever becomes of one. @returns for each that could not be written, what to say */
export const writeResultFiles = <R>(
  files: readonly ResultFile<R>[],
  cwd: string,
  report: R,
): readonly string[] =>
  files.flatMap(({ option, path, write }) => {
    try {
      writeWhole(resolve(cwd, path), write(report))
      return []
    } catch (error) {
      return [`${option} ${path} was not written: ${whyOf(error)}`]
    }
  })
