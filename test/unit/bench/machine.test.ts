/** A peer that is not installed is a line, not a crash. */

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isInstalled, missingOf, versionsOf } from '../../../bench/support/machine.ts'

describe('where nothing is installed', () => {
  const { PATH } = process.env
  beforeEach(() => {
    // `sh` is asked by its whole name then, and finds nothing else
    process.env['PATH'] = mkdtempSync(join(tmpdir(), 'sallyport-no-path-'))
  })
  afterEach(() => {
    process.env['PATH'] = PATH
  })

  test('it says how to get it', () => {
    expect(isInstalled('haproxy')).toBe(false)
    expect(missingOf(['haproxy', 'cfssl'])).toEqual({
      haproxy: 'apt-get install haproxy',
      cfssl: 'apt-get install golang-cfssl',
    })
    expect(versionsOf(['nginx', 'mosquitto'])).toEqual({})
  })
})

test('what is there is not missing', () => {
  const found = (['nginx', 'haproxy', 'mosquitto', 'openssl'] as const).filter(isInstalled)
  expect(missingOf(found)).toEqual({})
  const versions = versionsOf(found)
  for (const name of found) expect(versions[`crypto_of_${name}`]).toMatch(/OpenSSL \d/)
})
