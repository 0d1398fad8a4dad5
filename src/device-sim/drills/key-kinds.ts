/** Every kind of key that the CA signs, as a client certificate, in both versions of TLS: what enrols must also get in. */

import { KEY_KINDS } from '#fleet/certificate.ts'
import type { Drill } from './drill.ts'

export const keyKinds: Drill = {
  name: 'key_kinds',
  needs: [],
  async run(stage) {
    await Promise.all(
      KEY_KINDS.map(async (keyKind) => {
        const name = `key-${keyKind.toLowerCase()}`
        const device = await stage.enroll(name, { keyKind })
        for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
          const context = stage.contextOf(device, version)
          const answer = await stage.admits(`key_kinds.${keyKind}.${version}`, device.deviceId, { context })
          stage.expectations.check(
            `key_kinds.${keyKind}.${version}`,
            answer.tlsVersion === version,
            `asked for ${version}, got ${answer.tlsVersion}`,
          )
        }
      }),
    )
  },
}
