/**
 * Somebody at the origin keeps an assertion and tries to come in with it: without a certificate, where it must be worth nothing, and
 * with another device's, where it must be ignored and must not travel on.
 */

import type { Drill } from './drill.ts'

/** Every place a gateway of this kind might look for a token. */
const PLACES: Readonly<Record<string, (token: string) => Readonly<Record<string, string>>>> = {
  header: (token) => ({ 'cf-access-token': token }),
  cookie: (token) => ({ cookie: `CF_Authorization=${token}` }),
  assertion: (token) => ({ 'cf-access-jwt-assertion': token }),
  bearer: (token) => ({ authorization: `Bearer ${token}` }),
}

export const replayedAssertion: Drill = {
  name: 'replayed_assertion',
  needs: ['seen'],
  async run(stage) {
    const { expectations } = stage
    const seen = stage.seen ?? (() => Promise.resolve([]))
    const [device, other] = await Promise.all([stage.enroll('replayed'), stage.enroll('replayer')])
    const target = stage.target('replayed_assertion.first')
    await stage.admits('replayed_assertion.first', device.deviceId, {
      context: stage.contextOf(device),
      target,
    })
    const assertion = (await seen()).find((item) => item.target === target)?.assertion
    if (!expectations.check('replayed_assertion.taken', typeof assertion === 'string', 'the origin got none'))
      return
    const token = assertion as string

    for (const [place, headersFor] of Object.entries(PLACES)) {
      const headers = headersFor(token)
      const nobody = stage.contextOf(undefined)
      await stage.refuses(`replayed_assertion.${place}`, 'certificate_required', { context: nobody, headers })
      // `Authorization` is the application's own: it passes, and is no credential here
      if (place === 'bearer') continue
      const again = stage.target(`replayed_assertion.${place}`)
      const context = stage.contextOf(other)
      await stage.admits(`replayed_assertion.${place}`, other.deviceId, { context, headers, target: again })
      const sighting = (await seen()).find((item) => item.target === again)
      expectations.check(
        `replayed_assertion.${place}.removed`,
        sighting !== undefined && !sighting.headers.some(([, value]) => value.includes(token)),
        'the origin got the replayed assertion',
      )
      expectations.check(
        `replayed_assertion.${place}.identity`,
        sighting?.device === other.deviceId,
        `the origin was told that ${sighting?.device} called`,
      )
    }
    const context = stage.contextOf(undefined)
    const credentials = { clientId: device.deviceId, username: device.deviceId, password: token }
    await stage.refusesConnect('replayed_assertion.mqtt', 'certificate_required', { context, ...credentials })
  },
}
