import { expect, it } from 'vitest'
import { createLog } from '#runtime/log.ts'
import { cpuTime } from '../../support/cpu-time.ts'

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
  { list: [{ token: 'hunter2' }] },
  { err: Object.assign(new Error('broken'), { authorization: 'hunter2', headers: { cookie: 'hunter2' } }) },
])('cuts secrets out of %j', (fields) => {
  const { log, lines } = capture()
  log.error(fields, 'broken')
  expect(JSON.stringify(lines)).not.toContain('hunter2')
  expect(JSON.stringify(lines)).toContain('[removed]')
})

it('what a child logger carries, too', () => {
  const { log, lines } = capture()
  log.child({ token: 'hunter2', listener: 'devices' }).info('request')
  expect(lines).toMatchObject([{ token: '[removed]', listener: 'devices', desk: 'enroll' }])
})

it('leaves everything else as it was, the caller’s object too', () => {
  const { log, lines } = capture()
  const err = Object.assign(new Error('broken'), { code: 'E_X', token: 'hunter2' })
  const fields = {
    list: [1, { a: null }],
    none: undefined,
    deep: { a: { b: { c: 1 } } },
    err,
    token: 'hunter2',
  }
  log.info(fields, 'said')
  expect(lines).toMatchObject([
    {
      list: [1, { a: null }],
      deep: { a: { b: { c: 1 } } },
      err: { message: 'broken', code: 'E_X', type: 'Error' },
    },
  ])
  expect([err.token, fields.token]).toEqual(['hunter2', 'hunter2'])
})

it('looking for secrets costs a line little', () => {
  const { log } = capture()
  const fields = {
    door: 'https',
    host: 'a.test',
    method: 'GET',
    path: '/x',
    reason: 'allowed',
    address: '::1',
  }
  const aThousand = (): number =>
    cpuTime(() => {
      for (let at = 0; at < 1_000; at += 1) log.info(fields, 'admitted')
    })
  aThousand()
  // ms; with pino's wildcards 60 and more
  expect(Math.min(aThousand(), aThousand(), aThousand())).toBeLessThan(30)
})
