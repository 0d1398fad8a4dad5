/** Two enroll desks on one registry: what each checks in its own memory would not hold, so the second does not start. */

import { expect, test } from 'vitest'
import { startDesk } from '../support/enroll-desk.ts'

test('the second stops with config_invalid and says who is there, and the first goes on', async () => {
  const first = await startDesk()
  try {
    await expect(startDesk({ home: first.home })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining(`process ${process.pid} on `) as string,
    })
    expect((await first.operator('/v1/devices')).status).toBe(200)
  } finally {
    await first.stop()
  }
})
