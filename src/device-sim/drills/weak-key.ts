/** A key that no door and no desk may take: RSA of half the size. Not one of the kinds that a device makes: client/key.ts. */

import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'

const generate = promisify(generateKeyPair)

/** PKCS #8 PEM */
export const weakKey = async (): Promise<string> =>
  (await generate('rsa', { modulusLength: 1_024 })).privateKey.export({ type: 'pkcs8', format: 'pem' })
