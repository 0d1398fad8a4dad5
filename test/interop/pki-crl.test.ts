/** A long CRL, read back by OpenSSL: what was written in one buffer is what a strict reader finds. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { REVOCATION_REASONS, type RevocationReason } from '#fleet/revocation-reason.ts'
import { makePki, randomSerial } from '../support/pki.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const openssl = program('openssl')
const NAMES: Readonly<Record<RevocationReason, string | undefined>> = {
  unspecified: undefined,
  keyCompromise: 'Key Compromise',
  cACompromise: 'CA Compromise',
  affiliationChanged: 'Affiliation Changed',
  superseded: 'Superseded',
  cessationOfOperation: 'Cessation Of Operation',
  certificateHold: 'Certificate Hold',
  privilegeWithdrawn: 'Privilege Withdrawn',
  aACompromise: 'AA Compromise',
}

describe.skipIf(openssl === undefined)('openssl crl', () => {
  test('20,000 entries of every reason', async () => {
    using folder = temporaryFolder()
    const now = Date.now()
    const pki = makePki({ now })
    const reasons = Object.keys(REVOCATION_REASONS) as RevocationReason[]
    const entries = Array.from({ length: 20_000 }, (_, at) => ({
      serial: randomSerial(),
      revokedAt: now - at * MINUTE,
      reason: reasons[at % reasons.length] as RevocationReason,
    }))
    await using issuer = await pki.openIssuer()
    const crl = await issuer.signCrl({
      number: 2n ** 60n,
      thisUpdate: now - DAY,
      nextUpdate: now + HOUR,
      entries,
    })
    const [file, ca] = [join(folder.path, 'crl.der'), join(folder.path, 'ca.pem')]
    await writeFile(file, crl)
    await writeFile(ca, pki.devices.pem)

    const ran = await run(openssl as string, [
      'crl',
      '-inform',
      'DER',
      '-in',
      file,
      '-noout',
      '-text',
      '-CAfile',
      ca,
    ])
    expect(ran.stderr).toContain('verify OK')
    expect(ran.stdout.match(/(?<=Serial Number: )[0-9A-F]+/g)?.map((serial) => serial.toLowerCase())).toEqual(
      entries.map(({ serial }) => serial),
    )
    const dates = ran.stdout.match(/(?<=Revocation Date: ).*/g)?.map((date) => Date.parse(date))
    expect(dates).toEqual(entries.map(({ revokedAt }) => Math.floor(revokedAt / 1_000) * 1_000))
    expect(ran.stdout.match(/(?<=CRL Reason Code: \n +)\S.*/g)).toEqual(
      entries.flatMap(({ reason }) => NAMES[reason] ?? []),
    )
    expect(ran.stdout).toContain('X509v3 Issuing Distribution Point: critical')
    expect(ran.stdout).toContain(`URI:http://status.test:8081/crl/${issuer.ski}.crl`)
    expect(ran.stdout).not.toContain('Only User Certificates')
  })
})
