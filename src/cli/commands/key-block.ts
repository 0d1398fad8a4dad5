/** `key block | unblock | ls`: keys that are never certified, whoever comes with them. */

import { createPublicKey, createHash, X509Certificate } from 'node:crypto'
import type { Command } from 'commander'
import { FleetError } from '#fleet/errors.ts'
import { MOST_LINES, SPKI_PATTERN, type BlockedKey } from '#wire/bulk.ts'
import { group, online, show, type Online } from '../command.ts'
import type { Io } from '../io.ts'
import { list, listing } from '../list.ts'
import { connect } from '../operator-api.ts'
import { readGiven } from '../read-given.ts'

const spki = new RegExp(SPKI_PATTERN)

/** Each block of a file. */
const PEM = /-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----/g

/** Of a certificate or a public key, PEM. */
const spkiOfPem = (pem: string): string => {
  const key = pem.includes('CERTIFICATE-----') ? new X509Certificate(pem).publicKey : createPublicKey(pem)
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

const readHashes = (io: Io, file: string): string[] => {
  const text = readGiven(io, file).toString()
  try {
    if (text.includes('-----BEGIN')) return (text.match(PEM) ?? []).map(spkiOfPem)
    return text
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim().toLowerCase())
      .filter((line) => line !== '')
  } catch (cause) {
    throw new FleetError(
      'config_invalid',
      `${file}: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      {
        cause,
      },
    )
  }
}

const block = (io: Io): Command =>
  online('block', 'never certify these keys, whoever asks', 'key block --file leaked.txt')
    .argument('[spki...]', 'SHA-256 of the SubjectPublicKeyInfo, 64 hex digits')
    .option('-f, --file <file>', 'certificates or public keys (PEM), or one hash a line')
    .action(async (given: string[], _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online & { file?: string }>()
      const hashes = [
        ...given.map((hash) => hash.toLowerCase()),
        ...(options.file === undefined ? [] : readHashes(io, options.file)),
      ]
      const wrong = hashes.find((hash) => !spki.test(hash))
      if (wrong !== undefined || hashes.length === 0)
        throw new FleetError('config_invalid', `expected SHA-256 hashes of public keys, 64 hex digits each`)
      const api = connect(io, options)
      let added = 0
      for (let at = 0; at < hashes.length; at += MOST_LINES) {
        const body = { spki_sha256: hashes.slice(at, at + MOST_LINES) }
        added += (await api.call<{ added: number }>('POST', '/v1/blocked-keys', { body })).added
      }
      show(io, options, { given: hashes.length, added }, () => [
        `${added} of ${hashes.length} keys were not blocked before; all are now. Certificates that have them stay: revoke those.`,
      ])
    })

const unblock = (io: Io): Command =>
  online('unblock', 'let a key be certified again', 'key unblock <spki>')
    .argument('<spki>')
    .action(async (hash: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Online>()
      const body = { spki_sha256: [hash.toLowerCase()] }
      const { removed } = await connect(io, options).call<{ removed: number }>(
        'POST',
        '/v1/blocked-keys/unblock',
        { body },
      )
      if (removed === 0)
        throw new FleetError('not_found', 'it is not blocked, or was reported compromised with a device')
      show(io, options, { spki_sha256: hash, blocked: false }, () => [`${hash} may be certified again`])
    })

export const keyCommands = (io: Io): Command =>
  group('key', 'keys that are never certified', 'key ls', [
    block(io),
    unblock(io),
    listing('list blocked keys', 'key ls').action(
      list<BlockedKey>(io, {
        path: '/v1/blocked-keys',
        heads: ['SPKI SHA-256', 'SINCE'],
        row: (key) => [key.spki_sha256, key.blocked_at],
        none: 'No key is blocked.',
      }),
    ),
  ])
