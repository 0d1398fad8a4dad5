/** EST by group with programs that are not ours: curl with a manufacturer's PKI that openssl made, and strongSwan, which waits for an operator. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readCertificates } from '#pki/certificate.ts'
import type { GroupBody } from '#wire/groups.ts'
import { startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { program, run, type Ran } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const strongswan = program('pki')
const openssl = program('openssl')
const curl = program('curl')

const folder = temporaryFolder()
const at = (name: string): string => join(folder.path, name)
let desk: TestDesk
let url: string
beforeAll(async () => {
  desk = await startDesk()
  url = `https://localhost:${new URL(desk.urls['devices'] ?? '').port}`
  await writeFile(at('root.pem'), desk.home.pki.root.pem)
  await writeFile(at('devices.pem'), desk.home.pki.devices.pem)
})
afterAll(async () => {
  await desk.stop()
  folder[Symbol.dispose]()
})

const putGroup = async (name: string, body: GroupBody): Promise<void> => {
  const answer = await desk.operator(`/v1/groups/${name}`, { method: 'PUT', body })
  if (answer.status >= 300) throw new Error(answer.text)
}
const waiting = async (group: string): Promise<readonly string[]> => {
  const { json } = await desk.operator(`/v1/requests?state=waiting&group=${group}`)
  return ((json?.['items'] ?? []) as { id: string }[]).map(({ id }) => id)
}
const approve = async (group: string): Promise<void> => {
  for (const id of await waiting(group)) await desk.operator(`/v1/requests/${id}/approve`, { method: 'POST' })
}

describe.skipIf(curl === undefined || openssl === undefined)('curl and openssl', () => {
  const ssl = async (...args: readonly string[]): Promise<Ran> => {
    const ran = await run(openssl as string, args, { cwd: folder.path })
    if (ran.code !== 0) throw new Error(ran.stderr)
    return ran
  }
  const subjectOf = async (base64: string): Promise<string> => {
    const input = Buffer.from(base64, 'base64')
    const ran = await run(openssl as string, ['pkcs7', '-inform', 'DER', '-print_certs', '-noout'], { input })
    return /(?<=subject=).*/.exec(ran.stdout)?.[0] ?? ran.stderr
  }
  /** @returns status, headers and body, as `curl -i` writes them */
  const enroll = async (path: string, csr: string, ...more: readonly string[]): Promise<Ran> =>
    run(curl as string, [
      '-sSi',
      '--cacert',
      at('root.pem'),
      '-H',
      'Content-Type: application/pkcs10',
      '--data-binary',
      `@${at(csr)}`,
      ...more,
      `${url}/.well-known/est${path}/simpleenroll`,
    ])
  const bodyOf = ({ stdout }: Ran): string => stdout.split('\r\n\r\n').at(-1) ?? ''
  const statusOf = ({ stdout }: Ran): string => stdout.match(/HTTP\/1\.1 \d+/g)?.at(-1) ?? stdout
  /** A key, and a request for it in base64. */
  const request = async (name: string, subject = `/CN=${name}`): Promise<string> => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
    await ssl('req', '-new', ...key, '-subj', subject, '-outform', 'DER', '-out', `${name}.der`)
    await ssl('base64', '-in', `${name}.der`, '-out', `${name}.b64`)
    return `${name}.b64`
  }

  describe('a manufacturer', () => {
    const identity = async (name: string, serial: string): Promise<readonly string[]> => {
      await request(name, `/O=Maker/serialNumber=${serial}/CN=Pump`)
      await writeFile(at(`${name}.ext`), 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n')
      const by = ['-CA', 'factory.pem', '-CAkey', 'factory.key', '-CAcreateserial', '-days', '3650']
      await ssl(
        'x509',
        '-req',
        '-inform',
        'DER',
        '-in',
        `${name}.der`,
        ...by,
        '-extfile',
        `${name}.ext`,
        '-out',
        `${name}.pem`,
      )
      const chain = await Promise.all([`${name}.pem`, 'factory.pem'].map((file) => ssl('x509', '-in', file)))
      await writeFile(at(`${name}.chain`), chain.map(({ stdout }) => stdout).join(''))
      return ['--cert', at(`${name}.chain`), '--key', at(`${name}.key`)]
    }
    const list = async (ca: string): Promise<string> => {
      const lines = [
        '[ca]',
        'default_ca=c',
        '[c]',
        `database=${at(`${ca}.index`)}`,
        `crlnumber=${at(`${ca}.crlnumber`)}`,
        'default_md=sha256',
        'default_crl_days=30',
        'crl_extensions=e',
        '[e]',
        'authorityKeyIdentifier=keyid',
      ]
      await writeFile(at(`${ca}.cnf`), `${lines.join('\n')}\n`)
      const by = ['-config', `${ca}.cnf`, '-cert', `${ca}.pem`, '-keyfile', `${ca}.key`]
      return (await ssl('ca', '-gencrl', ...by)).stdout
    }

    beforeAll(async () => {
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes']
      await ssl(
        'req',
        '-x509',
        ...key,
        '-keyout',
        'maker.key',
        '-out',
        'maker.pem',
        '-subj',
        '/CN=Maker Root',
        '-days',
        '3650',
        '-addext',
        'keyUsage=critical,keyCertSign,cRLSign',
      )
      await ssl(
        'req',
        '-new',
        ...key,
        '-keyout',
        'factory.key',
        '-out',
        'factory.csr',
        '-subj',
        '/CN=Maker Factory',
      )
      await writeFile(
        at('factory.ext'),
        'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
      )
      await ssl(
        'x509',
        '-req',
        '-in',
        'factory.csr',
        '-CA',
        'maker.pem',
        '-CAkey',
        'maker.key',
        '-CAcreateserial',
        '-days',
        '3650',
        '-extfile',
        'factory.ext',
        '-out',
        'factory.pem',
      )
      for (const ca of ['maker', 'factory']) {
        await writeFile(at(`${ca}.index`), '')
        await writeFile(at(`${ca}.crlnumber`), '1000\n')
      }
    })

    test('its IDevID enrols under the label, as the device that it names, until it is on a revocation list', async () => {
      const [one, two] = [await identity('idevid-1', 'SN-1'), await identity('idevid-2', 'SN-2')]
      const anchors = (await ssl('x509', '-in', 'maker.pem')).stdout
      const put = async () =>
        putGroup('pumps', {
          est_labels: ['pumps'],
          credentials: ['bootstrap'],
          id_template: 'pump-${cert.serial_number}',
          bootstrap: { anchors, crls: (await list('maker')) + (await list('factory')) },
        })
      await put()
      const csr = await request('own-1', '/CN=pump-SN-1')
      const enrolled = await enroll('/pumps', csr, ...one)
      expect(statusOf(enrolled)).toBe('HTTP/1.1 200')
      expect(await subjectOf(bodyOf(enrolled))).toBe('CN = pump-SN-1')
      // as another device, without a certificate, under another label
      expect(statusOf(await enroll('/pumps', csr, ...two))).toBe('HTTP/1.1 400')
      expect(statusOf(await enroll('/pumps', csr))).toBe('HTTP/1.1 401')
      expect(statusOf(await enroll('/lamps', csr, ...one))).toBe('HTTP/1.1 404')

      const serial = /serial=([0-9A-F]+)/.exec(
        (await ssl('x509', '-in', 'idevid-2.pem', '-noout', '-serial')).stdout,
      )?.[1]
      await writeFile(at('factory.index'), `R\t361231000000Z\t260101000000Z\t${serial}\tunknown\t/CN=x\n`)
      await put()
      const revoked = await enroll('/pumps', await request('own-2', '/CN=pump-SN-2'), ...two)
      expect(statusOf(revoked)).toBe('HTTP/1.1 403')
      expect(bodyOf(revoked)).toContain('certificate_revoked')
    })
  })

  test('202 until an operator has said yes, and then the certificate', async () => {
    await putGroup('strangers', { est_labels: ['strangers'], credentials: ['approval'] })
    const csr = await request('stranger-1')
    const first = await enroll('/strangers', csr)
    expect(statusOf(first)).toBe('HTTP/1.1 202')
    expect(first.stdout).toContain('\r\nRetry-After: 15\r\n')
    expect(bodyOf(first)).toContain((await waiting('strangers'))[0])
    await approve('strangers')
    const then = await enroll('/strangers', csr)
    expect(await subjectOf(bodyOf(then))).toBe('CN = stranger-1')
  })
})

describe.skipIf(strongswan === undefined)('strongSwan pki', () => {
  test('--est waits as long as Retry-After says, and then has its certificate', async () => {
    await putGroup('slow', { approval: true })
    const { text } = await desk.claim({ group: 'slow' })
    const pki = (...args: readonly string[]) => run(strongswan as string, args, { timeout: 40_000 })
    await writeFile(
      at('swan.key'),
      (await pki('--gen', '--type', 'ecdsa', '--size', '256', '--outform', 'pem')).stdout,
    )
    const asked = await pki(
      '--req',
      '--in',
      at('swan.key'),
      '--type',
      'priv',
      '--dn',
      'CN=swan-9',
      '--outform',
      'pem',
    )
    await writeFile(at('swan.csr'), asked.stdout)
    const trusted = ['--cacert', at('root.pem'), '--cacert', at('devices.pem')]
    const enrolling = pki(
      '--est',
      '--url',
      url,
      '--in',
      at('swan.csr'),
      ...trusted,
      '--userpass',
      `swan-9:${text}`,
      // the least that it waits, whatever it is told; 60 by default
      '--interval',
      '1',
      '--outform',
      'pem',
    )
    await expect.poll(() => waiting('slow')).toHaveLength(1)
    await approve('slow')
    const { code, stdout } = await enrolling
    expect(code).toBe(0)
    expect(readCertificates(stdout)[0]?.commonName).toBe('swan-9')
  })
})
