import { expect, test } from 'vitest'
import { createExpectations, createLedger, createMeter } from '#device-sim/index.ts'
import { exitCodeFor, lineOf } from '#cli/demo/line.ts'
import { tableOf } from '#cli/demo/table.ts'

const a = { device: 'a', at: 1, millis: 1 }
const run = (held: boolean) => {
  const [ledger, meter, expectations] = [createLedger(), createMeter(), createExpectations()]
  ledger.fleet({ ...a, kind: 'enrolled', via: 'rest', notAfter: 2 })
  ledger.fleet({ ...a, kind: 'admitted', door: 'https', target: '/1' })
  ledger.fleet({ ...a, kind: 'admitted', door: 'mqtt' })
  ledger.fleet({ ...a, kind: 'published', topic: 't', seq: 1, acknowledged: true })
  ledger.fleet({ ...a, kind: 'delivered', topic: 't', seq: 1 })
  ledger.refused('https', 'certificate_required')
  ledger.refused('mqtt', 'topic_denied')
  ledger.refused('mqtt', 'topic_denied')
  meter.handshake(false)
  meter.handshake(true)
  meter.answer('GET /', ['set-cookie', 'CF_Authorization=x'], Buffer.alloc(0))
  expectations.check('one', true, '')
  expectations.check('two', held, 'because')
  return lineOf(ledger, meter, expectations)
}

test('the line of the contract, from what the clients counted', () => {
  expect(run(false)).toEqual({
    enrolled: 1,
    https: { admitted: 1, refused: { certificate_required: 1 } },
    mqtt: { connected: 1, published: 1, delivered: 1, refused: { topic_denied: 2 } },
    handshakes: 1,
    resumed: 1,
    tokens_returned: 1,
    revoked_then_admitted: 0,
    expectations: { passed: 1, failed: ['two'] },
  })
})

test('exit 0 only when nothing failed', () => {
  expect(exitCodeFor(run(true))).toBe(0)
  expect(exitCodeFor(run(false))).toBe(1)
})

test('the table says the same, and names what failed', () => {
  const text = tableOf(run(false), 7.25).join('\n')
  expect(text).toMatch(/mqtt refused +topic_denied 2/)
  expect(text).toMatch(/expectations +1 held, 1 failed/)
  expect(text).toMatch(/seconds +7\.3/)
  expect(text).toMatch(/^FAILED two$/m)
})
