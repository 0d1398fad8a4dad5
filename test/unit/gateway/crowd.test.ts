import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { beforeEach, expect, test } from 'vitest'
import { createCrowd, type Crowd } from '#gateway/crowd.ts'

/** A TCP connection, and the TLS socket over it: they have the same other end, and nothing else in common. */
class Fake extends EventEmitter {
  readonly remoteAddress = '192.0.2.1'
  readonly remotePort: number
  destroyed = false
  constructor(port: number) {
    super()
    this.remotePort = port
  }
  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }
}
const socketOf = (fake: Fake): Socket => fake as unknown as Socket
const over = (fake: Fake): Socket => socketOf(new Fake(fake.remotePort))

let crowd: Crowd
let dropped: number
beforeEach(() => {
  dropped = 0
  crowd = createCrowd({
    most: 3,
    dropped: () => {
      dropped += 1
    },
  })
})
const enter = (...ports: readonly number[]): Fake[] =>
  ports.map((port) => {
    const fake = new Fake(port)
    crowd.enter(socketOf(fake))
    return fake
  })
const gone = (fakes: readonly Fake[]): number[] =>
  fakes.filter(({ destroyed }) => destroyed).map(({ remotePort }) => remotePort)

test('whoever has waited longest makes room, and not who was admitted', () => {
  const some = enter(1, 2, 3)
  crowd.admit(over(some[0] as Fake))
  some.push(...enter(4, 5))
  expect([gone(some), dropped]).toEqual([[2, 3], 2])
})
test('where all are admitted there is no room', () => {
  const some = enter(1, 2, 3)
  for (const each of some) crowd.admit(over(each))
  expect([gone([...some, ...enter(4)]), dropped]).toEqual([[4], 1])
})
test('whoever has had an answer waits again, behind those who wait', () => {
  const some = enter(1, 2, 3)
  crowd.admit(over(some[0] as Fake))
  crowd.idle(over(some[0] as Fake))
  some.push(...enter(4, 5, 6))
  expect(gone(some)).toEqual([1, 2, 3])
})
test('a drain: first those who wait, who have never begun TLS too; then all', () => {
  const some = enter(1, 2)
  crowd.admit(over(some[1] as Fake))
  crowd.dismiss()
  expect(gone(some)).toEqual([1])
  crowd.close()
  expect(gone(some)).toEqual([1, 2])
})
test('whoever leaves makes room', () => {
  const some = enter(1, 2, 3)
  some[1]?.destroy()
  expect([enter(4)[0]?.destroyed, dropped]).toEqual([false, 0])
})
