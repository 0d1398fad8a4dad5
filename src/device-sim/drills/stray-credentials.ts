/** Things that come along with a good certificate and make the request a bad one: half a service token, a wrong one, a page of somebody else. */

import type { Drill } from './drill.ts'

const STRANGE = 'https://elsewhere.test'

export const strayCredentials: Drill = {
  name: 'stray_credentials',
  needs: [],
  async run(stage) {
    const device = await stage.enroll('stray')
    const context = stage.contextOf(device)
    const id = { 'cf-access-client-id': `${'0'.repeat(16)}.access` }
    const secret = { 'cf-access-client-secret': '0'.repeat(64) }
    const tokens = { id_alone: id, secret_alone: secret, unknown: { ...id, ...secret } }
    for (const [what, headers] of Object.entries(tokens))
      await stage.refuses(`stray_credentials.service_token.${what}`, 'token_invalid', { context, headers })

    const page = { context, headers: { origin: STRANGE } }
    for (const method of ['POST', 'PUT', 'DELETE'])
      await stage.refuses(`stray_credentials.origin.${method}`, 'origin_denied', { ...page, method })
  },
}
