/** Whoever asks for a certificate and should not get one, over REST and over EST: each is told why, and nothing comes of it. */

import { SECOND } from '#fleet/clock.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { makeCsr, makeCsrDer } from '../client/csr.ts'
import { pem } from '../client/der.ts'
import { enrollByEst } from '../client/enroll-est.ts'
import { httpsOnce } from '../client/https-once.ts'
import { newKey } from '../client/key.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import { wasRefused, type Stage } from './stage.ts'
import { weakKey } from './weak-key.ts'

/** The same request, signed by nobody: one bit of the signature is another. */
const brokenSignature = (keyPem: string, name: string): string => {
  const der = makeCsrDer(keyPem, name)
  der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1)
  return pem('CERTIFICATE REQUEST', der)
}

/** `spt1.<id>.<secret>.<root>`: the first letter of the secret is another. */
const withWrongSecret = (token: string): string =>
  token.replace(
    /^([^.]+\.[^.]+\.)(.)/,
    (_, before: string, first: string) => before + (first === 'A' ? 'B' : 'A'),
  )

type Ask = { readonly token: string; readonly csr: string; readonly id?: string }

const refusesRest = async (stage: Stage, what: string, reason: ErrorCode, ask: Ask): Promise<void> => {
  const { targets, signal, meter, expectations } = stage
  const answer = await httpsOnce({
    url: new URL('/v1/enroll', targets.enroll).href,
    context: stage.contextOf(undefined),
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ask.token}` },
    body: JSON.stringify({ csr: ask.csr, ...(ask.id === undefined ? {} : { device_id: ask.id }) }),
    signal,
    meter,
  })
  const wrong = wasRefused(reason, answer)
  expectations.check(`enroll_refusals.${what}`, wrong === undefined, wrong ?? '')
}

export const enrollRefusals: Drill = {
  name: 'enroll_refusals',
  needs: ['operator'],
  async run(stage) {
    const { operator, targets, signal, meter, rootPem } = stage
    if (operator === undefined) return
    const [short, once, taken, good] = await Promise.all([
      operator.createToken({ expires: '1s' }),
      operator.createToken({ uses: 1 }),
      operator.createToken({ uses: 2 }),
      operator.createToken({ uses: 2 }),
    ])
    const over = stage.clock() + 2 * SECOND
    const device = await stage.enroll('refused', once)
    await operator.revokeToken(taken.id)

    const id = `${device.deviceId}-not`
    const keyPem = await newKey('P-256')
    const csr = makeCsr(keyPem, id)
    const { token } = good
    const wrong = withWrongSecret(token)
    const refuses = (what: string, reason: ErrorCode, ask: Ask) => refusesRest(stage, what, reason, ask)

    await refuses('no_token', 'token_invalid', { token: 'spt1.x.y.z', csr })
    await refuses('wrong_secret', 'token_invalid', { token: wrong, csr })
    await refuses('revoked_token', 'token_revoked', { token: taken.token, csr })
    // spent by this device: with another key it is another's
    const another = { token: once.token, csr: makeCsr(keyPem, device.deviceId) }
    await refuses('spent_token', 'token_spent', another)

    await refuses('no_csr', 'bad_csr', { token, csr: pem('CERTIFICATE REQUEST', Buffer.from('nothing')) })
    await refuses('csr_signature', 'csr_signature_invalid', { token, csr: brokenSignature(keyPem, id) })
    await refuses('weak_key', 'weak_key', { token, csr: makeCsr(await weakKey(), id) })
    await refuses('id_malformed', 'device_id_invalid', { token, csr: makeCsr(keyPem, '../x') })
    await refuses('two_ids', 'device_id_mismatch', { token, csr, id: `${id}-other` })
    await refuses('taken_id', 'device_exists', { token, csr: makeCsr(keyPem, device.deviceId) })
    await refuses('taken_key', 'key_in_use', { token, csr: makeCsr(device.keyPem, id) })

    const est = { server: targets.enroll, id, keyPem, rootPem, signal, meter }
    await stage.denies(
      'enroll_refusals.est.wrong_secret',
      'token_invalid',
      enrollByEst({ ...est, token: wrong }),
    )
    await stage.denies(
      'enroll_refusals.est.taken_id',
      'device_exists',
      enrollByEst({ ...est, token, id: device.deviceId }),
    )
    await stage.denies(
      'enroll_refusals.est.label',
      'not_found',
      enrollByEst({ ...est, token, label: `none-${stage.run}` }),
    )

    await pause(over - stage.clock(), signal)
    await refuses('expired_token', 'token_expired', { token: short.token, csr })
    // the others have ended
    await operator.revokeToken(good.id)
  },
}
