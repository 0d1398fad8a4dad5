import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import type { Figures } from '#cli/up/tally.ts'
import { fit, render, summary } from '#cli/up/view.ts'

const at = new Date(2026, 0, 2, 3, 4, 5).getTime()

const figures: Figures = {
  devices: { enrolled: 25, wanted: 25 },
  https: { admitted: 12_345, refused: { certificate_required: 1, certificate_revoked: 20 } },
  mqtt: { connected: 12, published: 400, delivered: 398, refused: {} },
  history: [0, 0, 1, 2, 4, 8],
  recent: [{ at, who: 'my-device', what: 'https GET /hello: admitted', good: true }],
}

test('what it shows, without colours', () => {
  expect(render(figures, { up: 3_661_000, width: 100, colours: false })).toEqual([
    `── Sallyport, up 01:01:01, Ctrl-C ends it ${'─'.repeat(36)}`,
    'devices   25 of 25 enrolled',
    'https     12,345 admitted  2.5/s    ▁▂▄█',
    '          refused  certificate_revoked 20, certificate_required 1',
    'mqtt      12 connected  400 published  398 delivered',
    'recent    03:04:05  + my-device  https GET /hello: admitted',
  ])
})

test('without simulated devices there is nothing to say about them', () => {
  const none = { ...figures, devices: { enrolled: 0, wanted: 0 } }
  expect(render(none, { up: 0, width: 80, colours: false }).join('\n')).not.toMatch(/devices|mqtt/)
})

test.each([200, 80, 40, 12, 2, 1])('no line is wider than a terminal of %i columns', (width) => {
  for (const colours of [false, true])
    for (const line of render(figures, { up: 0, width, colours }))
      expect(stripVTControlCharacters(line).length).toBeLessThan(Math.max(2, width))
})

test('colours add nothing that is seen', () => {
  const plain = render(figures, { up: 0, width: 80, colours: false })
  const coloured = render(figures, { up: 0, width: 80, colours: true })
  expect(coloured.join('\n')).not.toBe(plain.join('\n'))
  expect(coloured.map(stripVTControlCharacters)).toEqual(plain)
})

test.each([
  ['abcdef', 6, 'abcdef'],
  ['abcdef', 4, 'abc…'],
  ['ab\u001b[1mcdef\u001b[22mgh', 4, 'ab\u001b[1mc…\u001b[22m'],
  ['ab\u001b[1mcd\u001b[22mgh', 5, 'ab\u001b[1mcd\u001b[22m…'],
])('%j in %i columns', (line, width, fitted) => {
  expect(fit(line, width)).toBe(fitted)
})

test('what a client wrote cannot move the cursor', () => {
  const evil = { ...figures, recent: [{ at, who: 'x\u001b[2J', what: 'y\n\u0007', good: false }] }
  expect(render(evil, { up: 0, width: 80, colours: false }).at(-1)).toBe('recent    03:04:05  - x?[2J  y??')
})

test('one line for a pipe', () => {
  expect(summary(figures, 61_000)).toBe(
    'up 00:01:01: 25/25 devices enrolled; https 12345 admitted, refused: certificate_revoked 20, certificate_required 1; ' +
      'mqtt 12 connected, 400 published, 398 delivered, refused: none',
  )
})
