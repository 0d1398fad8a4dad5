/** On what the figures were made, and what there is to compare with. */

import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { versionOf } from './pinned.ts'

type Known = {
  /** of Debian */
  readonly package: string
  /** says its version in the first line */
  readonly version: string
  /** what makes its signatures where that is not OpenSSL, said by a command */
  readonly crypto?: string
}

const PROGRAMS = {
  nginx: { package: 'nginx-light', version: 'nginx -v' },
  haproxy: { package: 'haproxy', version: 'haproxy -v' },
  mosquitto: { package: 'mosquitto', version: 'mosquitto -h' },
  mosquitto_pub: { package: 'mosquitto-clients', version: 'mosquitto_pub --help | grep version' },
  cfssl: {
    package: 'golang-cfssl',
    version: 'cfssl version',
    crypto: "cfssl version | sed -n 's/^Runtime: //p'",
  },
  openssl: { package: 'openssl', version: 'openssl version' },
  bash: { package: 'bash', version: 'bash --version' },
  taskset: { package: 'util-linux', version: 'taskset --version' },
} as const satisfies Readonly<Record<string, Known>>
export type Program = keyof typeof PROGRAMS

export const isInstalled = (program: Program): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export const howToInstall = (program: Program): string => `apt-get install ${PROGRAMS[program].package}`

/** @returns for `missing` of a SuiteResult */
export const missingOf = (programs: readonly Program[]): Readonly<Record<string, string>> =>
  Object.fromEntries(programs.filter((each) => !isInstalled(each)).map((each) => [each, howToInstall(each)]))

/** The OpenSSL that a program loads, as the library itself says it: not the one that it was built with. */
const opensslOf = (program: Program): string =>
  versionOf(
    `ldd "$(command -v ${program})" | sed -n 's/.*libcrypto[^ ]* => \\([^ ]*\\).*/\\1/p' | xargs -r grep -aoh 'OpenSSL [0-9][0-9.]*[a-z]* *[0-9]* [A-Z][a-z][a-z] 20[0-9][0-9]' | sort -u`,
  )

/** @returns version and OpenSSL of those that are installed, by name */
export const versionsOf = (programs: readonly Program[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    programs.filter(isInstalled).flatMap((program) => {
      const { version, crypto }: Known = PROGRAMS[program]
      return [
        [program, versionOf(version)],
        [`crypto_of_${program}`, crypto === undefined ? opensslOf(program) : versionOf(crypto)],
      ]
    }),
  )

/** What stands in each result, for what is ours and our clients. */
export const OURS: Readonly<Record<string, string>> = {
  node: process.version,
  crypto_of_node: `OpenSSL ${process.versions.openssl}`,
}

export const machine = (): Readonly<Record<string, string | number>> => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memory_gb: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  load_before: Number(loadavg()[0]?.toFixed(2)),
  ...OURS,
})
