/** Enrolment over MQTT as a device makes it, and as a gateway hands it on: made here by itself, not by what is tested. */

import { createHash, sign, type KeyObject } from 'node:crypto'
import type { Answer, TestDesk } from './enroll-desk.ts'
import type { makeCsr, TestLeaf } from './pki.ts'

export const RELAY = '/v1/relay/enroll'

const DIGEST: Readonly<Record<string, string>> = {
  prime256v1: 'sha256',
  secp384r1: 'sha384',
  secp521r1: 'sha512',
}

/** As docs/mqtt-enrollment.md has it. */
export const signRequest = (key: KeyObject, csr: Uint8Array, nonce: string, group = ''): string => {
  const octets = Buffer.concat([
    createHash('sha256').update(csr).digest(),
    Buffer.from(nonce, 'base64url'),
    Buffer.from(group),
  ])
  const digest =
    key.asymmetricKeyType === 'ed25519'
      ? null
      : (DIGEST[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 'sha256')
  return sign(digest, octets, key).toString('base64')
}

export type Csr = ReturnType<typeof makeCsr>

export type Device = {
  readonly leaf: TestLeaf
  /** leaf and what it sends above, PEM */
  readonly sends: string
}

/** One gateway that hands on what devices say, or what it makes of it. */
export const gatewayOf = (desk: TestDesk, gateway: TestLeaf) => {
  const ask = (body: object): Promise<Answer> =>
    desk.device(RELAY, { body, tls: { cert: gateway.fullPem, key: gateway.keyPem } })
  const nonce = async ({ sends }: Device, kind: 'create' | 'renew' = 'create'): Promise<string> => {
    const answer = await ask({ kind: 'nonce', for: kind, certificate: sends, address: '192.0.2.1' })
    return answer.json?.['nonce'] as string
  }
  return {
    ask,
    nonce,
    /** @param over what somebody on the way has changed */
    request: async (
      kind: 'create' | 'renew',
      device: Device,
      csr: Csr,
      o: {
        readonly nonce?: string
        readonly address?: string
        readonly group?: string
        readonly signingKey?: KeyObject
        readonly over?: object
      } = {},
    ): Promise<Answer> => {
      const given = o.nonce ?? (await nonce(device, kind))
      return ask({
        kind,
        certificate: device.sends,
        address: o.address ?? '192.0.2.1',
        request: {
          csr: csr.pem,
          nonce: given,
          signature: signRequest(o.signingKey ?? device.leaf.privateKey, csr.der, given, o.group),
          ...(o.group === undefined ? {} : { group: o.group }),
          ...o.over,
        },
      })
    },
  }
}
