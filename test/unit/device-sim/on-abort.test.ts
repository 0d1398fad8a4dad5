import { describe, expect, test } from 'vitest'
import { onAbort } from '#device-sim/on-abort.ts'

describe('being told of a signal', () => {
  test('everybody is told once, but who took it back', () => {
    const stop = new AbortController()
    const told: string[] = []
    onAbort(stop.signal, () => told.push('a'))
    const back = onAbort(stop.signal, () => told.push('b'))
    onAbort(stop.signal, () => told.push('c'))
    back()
    stop.abort()
    expect(told).toEqual(['a', 'c'])
  })

  test('taking back twice ends nothing that others have begun since', () => {
    const stop = new AbortController()
    const told: string[] = []
    const back = onAbort(stop.signal, () => told.push('a'))
    back()
    onAbort(stop.signal, () => told.push('b'))
    back()
    stop.abort()
    expect(told).toEqual(['b'])
  })

  test('who takes another back while they are being told', () => {
    const stop = new AbortController()
    const told: string[] = []
    onAbort(stop.signal, () => {
      told.push('a')
      back()
    })
    const back = onAbort(stop.signal, () => told.push('b'))
    stop.abort()
    expect(told).toEqual(['a'])
  })
})
