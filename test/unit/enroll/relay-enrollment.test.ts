/** Failures through gateways, each by itself. The whole of it is in test/system/enroll-relay.test.ts. */

import { expect, test } from 'vitest'
import { createFailureLimits } from '#enroll/limits.ts'
import { eachGateway } from '#enroll/relay-enrollment.ts'

test('a gateway that names many addresses makes no room in the table of another', () => {
  const failuresAt = eachGateway(() => createFailureLimits({ perMinute: 1, clock: () => 0, maxAddresses: 3 }))
  failuresAt('good').failed('192.0.2.1')
  for (let at = 0; at < 10; at += 1) failuresAt('evil').failed(`2001:db8:${at}::`)
  const refused = expect.objectContaining({ code: 'rate_limited' }) as unknown
  expect(() => failuresAt('good').check('192.0.2.1')).toThrow(refused)
  failuresAt('evil').check('192.0.2.1')
  failuresAt('evil').check('2001:db8:0::')
  expect(() => failuresAt('evil').check('2001:db8:9::')).toThrow(refused)
})
