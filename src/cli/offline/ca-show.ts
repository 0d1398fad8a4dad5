/** `ca show`: the certificates that the configuration points at, as the desks would read them. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from '#pki/certificate.ts'
import { command, show, type Common } from '../command.ts'
import type { Io } from '../io.ts'
import { pairs } from '../output.ts'
import { readConfig } from '../settings.ts'

const instant = (ms: number): string => new Date(ms).toISOString()

const first = (path: string): CertificateFacts | undefined =>
  existsSync(path) ? readCertificates(readFileSync(path, 'utf8'))[0] : undefined

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

export const caShow = (io: Io): Command =>
  command('show', 'show the root, the intermediates and the server certificate', 'ca show').action(
    (_: unknown, self: Command) => {
      const options = self.optsWithGlobals<Common>()
      const config = readConfig(io, options)
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
      show(io, options, Object.fromEntries(found), () =>
        found.flatMap(([name, facts], at) => [
          ...(at === 0 ? [] : ['']),
          `${name}: ${facts.common_name ?? '(no name)'}`,
          ...pairs([
            ['  file', facts.file],
            ['  sha256', facts.sha256],
            ['  key', facts.key],
            ['  from', facts.not_before],
            ['  until', facts.not_after],
          ]),
        ]),
      )
    },
  )
