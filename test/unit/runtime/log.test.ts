import { expect, it } from 'vitest'
import { createLog } from '#runtime/log.ts'

const capture = (level: 'debug' | 'info' = 'info') => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('enroll', level, {
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  })
  return { log, lines }
}

it('writes one JSON line with level, time and desk', () => {
  const { log, lines } = capture()
  log.info({ device_id: 'd1' }, 'enrolled')
  log.debug('not this one')
  expect(lines).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      desk: 'enroll',
      device_id: 'd1',
      msg: 'enrolled',
    },
  ])
})

it.each([
  { token: 'hunter2' },
  { csr: 'hunter2' },
  { authorization: 'Bearer hunter2' },
  { headers: { authorization: 'Bearer hunter2', cookie: 'hunter2' } },
  { headers: { 'cf-access-jwt-assertion': 'hunter2', 'set-cookie': ['hunter2'] } },
  { request: { headers: { 'cf-access-token': 'hunter2' } } },
  { body: { private_key: 'hunter2', passphrase: 'hunter2' } },
])('cuts secrets out of %j', (fields) => {
  const { log, lines } = capture()
  log.error(fields, 'broken')
  expect(JSON.stringify(lines)).not.toContain('hunter2')
  expect(JSON.stringify(lines)).toContain('[removed]')
})
