/** EST with Bouncy Castle's client (Debian: libbcpkix-java, openjdk-17-jdk-headless): a Java program of ours around org.bouncycastle.est. */

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { readCertificates } from '#pki/certificate.ts'
import { issuedBy } from '#pki/chain.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import type { GroupBody } from '#wire/groups.ts'
import { startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { makeCa, makePki } from '../support/pki.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const java = program('java')
const openssl = program('openssl')
const jars = ['bcpkix', 'bcprov', 'bcutil'].map((name) => `/usr/share/java/${name}.jar`)
const missing = jars.filter((jar) => !existsSync(jar))
if (missing.length > 0 && process.env['CI'] === 'true')
  throw new Error(`${missing.join()} not installed, and CI=true`)
/** It compiles itself first, and a JVM takes its time. */
const PATIENCE = 60_000

describe.skipIf(java === undefined || openssl === undefined || missing.length > 0)('Bouncy Castle', () => {
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, name)
  let desk: TestDesk
  let host: string
  const putGroup = async (name: string, body: GroupBody): Promise<void> => {
    const answer = await desk.operator(`/v1/groups/${name}`, { method: 'PUT', body })
    if (answer.status >= 300) throw new Error(answer.text)
  }
  beforeAll(async () => {
    desk = await startDesk()
    host = `localhost:${new URL(desk.urls['devices'] ?? '').port}`
  })
  afterAll(async () => {
    await desk.stop()
    folder[Symbol.dispose]()
  })

  /** @returns what each step printed */
  const steps = async (...words: readonly string[]): Promise<readonly string[]> => {
    const source = join(import.meta.dirname, 'EstClient.java')
    const ran = await run(java as string, ['-cp', jars.join(':'), source, host, folder.path, ...words], {
      timeout: PATIENCE,
    })
    if (ran.code !== 0) throw new Error(ran.stderr)
    return ran.stdout.trim().split('\n')
  }
  const certificate = async (name: string) => readCertificates(await readFile(at(`${name}.pem`), 'utf8'))[0]

  test(
    'cacerts without trust, csrattrs, simpleenroll with a password, simplereenroll with the certificate; a wrong password',
    async () => {
      await putGroup('ecc', { est_labels: ['ecc'], key_kinds: ['P-256', 'Ed25519'] })
      const { text } = await desk.claim()
      const { text: labelled } = await desk.claim({ group: 'ecc' })
      const [kind, handle, , root] = text.split('.')
      const wrong = [kind, handle, 'A'.repeat(43), root].join('.')
      expect(
        await steps(
          'cacerts',
          'csrattrs',
          'csrattrs:ecc',
          `enroll::bc-1:${wrong}:bc-1`,
          `enroll::bc-1:${text}:bc-1`,
          `enroll:ecc:bc-2:${labelled}:bc-2`,
          `enroll:ecc:bc-3:${text}:bc-3`,
          'reenroll:bc-1:bc-1-next',
        ),
      ).toEqual([
        'cacerts: not trusted yet [CN=Test Devices, CN=Test Root]',
        'csrattrs: none',
        'csrattrs: [1.2.840.10045.2.1, 1.3.101.112]',
        'enroll: refused 401',
        'enroll: 1 CN=bc-1',
        'enroll: 1 CN=bc-2',
        'enroll: refused 403',
        'reenroll: 1 CN=bc-1',
      ])
      const [one, two] = [await certificate('bc-1'), await certificate('bc-1-next')]
      expect(one && issuedBy(one, desk.home.pki.devices.facts)).toBe(true)
      expect(two?.serial).not.toBe(one?.serial)
      expect(two?.spkiSha256).not.toBe(one?.spkiSha256)
      expect((await desk.registry.findDevice('bc-2' as DeviceId))?.group).toBe('ecc')
    },
    2 * PATIENCE,
  )

  test(
    'waiting for an operator; a bootstrap certificate of a manufacturer',
    async () => {
      const now = Date.now()
      const maker = makeCa({ name: 'Maker', now })
      await putGroup('slow', { est_labels: ['slow'], approval: true })
      await putGroup('pumps', {
        est_labels: ['pumps'],
        credentials: ['bootstrap'],
        bootstrap: { anchors: maker.pem },
        id_template: 'pump-${cert.serial_number}',
      })
      const leaf = makePki({ now }).device({
        by: maker,
        names: [],
        subjectDer: nameDer([{ oid: OID.serialNumber, text: 'SN-7' }]),
      })
      await writeFile(at('idevid.pem'), leaf.fullPem + leaf.keyPem)
      execFileSync(openssl as string, [
        'pkcs12',
        '-export',
        '-in',
        at('idevid.pem'),
        '-out',
        at('idevid.p12'),
        '-passout',
        'pass:interop',
      ])
      const { text } = await desk.claim({ group: 'slow' })
      expect(
        await steps(
          'cacerts',
          `enroll:slow:bc-4:${text}:bc-4`,
          'bootstrap:pumps:idevid',
          'bootstrap:slow:idevid',
        ),
      ).toEqual([
        'cacerts: not trusted yet [CN=Test Devices, CN=Test Root]',
        'enroll: waiting true',
        'bootstrap: 1 CN=pump-SN-7',
        'bootstrap: refused 401',
      ])
      expect(readCertificates(await readFile(at('idevid-own.pem'), 'utf8'))[0]?.commonName).toBe('pump-SN-7')
    },
    2 * PATIENCE,
  )
})
