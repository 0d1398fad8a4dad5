/** Nobody in particular knocks: TLS completes, and the door says why not. */

import type { Drill } from './drill.ts'

export const noCertificate: Drill = {
  name: 'no_certificate',
  needs: [],
  async run(stage) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const context = stage.contextOf(undefined, version)
      await stage.refuses('no_certificate.https', 'certificate_required', { context })
      await stage.refusesConnect('no_certificate.mqtt', 'certificate_required', {
        context,
        clientId: 'nobody',
      })
    }
  },
}
