/** What changes under an HTTPS door that is open: its own certificate, anchors, policies. Nobody is dropped. Not SIGHUP: https-workers.test.ts. */

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { HOUR, SECOND } from '#fleet/clock.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText } from '../support/raw-https.ts'
import { fingerprintShown, replaceFile } from '../support/served-certificate.ts'

const SESSION = { sessionDuration: HOUR }
const once = requestText('/', { headers: ['Connection: close'] })

describe('a new server certificate', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const put = (path: string, text: string): void => {
    replaceFile(path, text)
    // the next look at the files
    vi.advanceTimersByTime(5 * SECOND)
  }
  /** What is presented to who names a host of ours, to who names another one, and to who names none. */
  const presented = ({ port }: DoorHarness, leaf: TestLeaf): Promise<string[]> =>
    Promise.all(
      ['a.test', 'nobody.test', null].map(async (serverName) => {
        using client = await openRaw({ port, leaf, serverName })
        return fingerprintShown(client.socket)
      }),
    )

  test('is what every handshake shows; a running answer and a kept connection go on', async () => {
    let finish: (() => void) | undefined
    await using door = await openDoorHarness({
      answers: {
        '/stream': (_, response) => {
          response.write('first ')
          finish = () => response.end('last')
        },
      },
    })
    await door.putHttps({}, SESSION)
    const { pki, config, port } = door
    const lamp = await door.device('lamp-1')
    const [old = '', ...rest] = await presented(door, lamp)
    expect(rest).toEqual([old, old])
    using streaming = await openRaw({ port, leaf: lamp })
    streaming.send(requestText('/stream', { headers: ['Connection: close'] }))
    await streaming.until(/first /)
    using kept = await openRaw({ port, leaf: lamp })
    kept.send(requestText('/'))
    expect((await kept.reply()).status).toBe(200)

    const next = pki.server(['a.test'])
    put(config.tls.key, next.keyPem)
    expect(await presented(door, lamp)).toEqual([old, old, old])
    put(config.tls.cert, next.fullPem)
    const { fingerprint } = next.facts
    expect(await presented(door, lamp)).toEqual([fingerprint, fingerprint, fingerprint])
    expect(door.log.filter(({ msg }) => msg === 'the certificate was read again')).toHaveLength(1)

    finish?.()
    expect(readReply(await streaming.closed())).toMatchObject({ status: 200, body: 'first last' })
    kept.send(requestText('/'))
    expect((await kept.reply()).status).toBe(200)
    expect(fingerprintShown(kept.socket)).toBe(old)
    // and devices are known by it as they were
    expect((await door.say(once, lamp)).status).toBe(200)
    expect((await door.say(once)).body).toContain('certificate_required')
    expect(door.log.filter(({ level }) => level === 'error')).toEqual([])
  })
})

test('anchors and policies are put 50 times under two clients whom they do not concern: no request is lost', async () => {
  await using door = await openDoorHarness()
  await door.putHttps({}, SESSION)
  const { pki, port } = door
  const [fresh, staying] = [await door.device('lamp-1'), await door.device('lamp-2')]
  using kept = await openRaw({ port, leaf: staying })
  /** of one that comes anew each time, and of one that stays */
  const asks = [
    () => door.say(once, fresh),
    () => {
      kept.send(requestText('/'))
      return kept.reply()
    },
  ]
  const statuses: (number | string)[][] = asks.map(() => [])
  let isOver = false
  let answered = Promise.withResolvers<void>()
  const clients = asks.map(async (ask, at) => {
    while (!isOver) {
      const status = await ask().then(({ status: got }) => got, String)
      statuses[at]?.push(status)
      // a connection that was lost is refused at once, for ever
      isOver ||= status !== 200
      answered.resolve()
    }
  })
  for (let nth = 0; nth < 50 && !isOver; nth += 1) {
    const counts = statuses.map(({ length }) => length)
    if (nth % 2 === 0)
      await door.putAnchor({
        name: 'guests',
        // another CA, on the clients' own hostname and not
        hostnames: nth % 4 === 0 ? ['a.test', 'c.test'] : ['c.test'],
        pem: pki.other.root.pem,
      })
    else await door.putPolicy({ name: 'others', include: [{ common_name: { common_name: `other-${nth}` } }] })
    // each change has requests behind it, of either client
    while (!isOver && statuses.some(({ length }, at) => length <= (counts[at] ?? 0) + 1)) {
      answered = Promise.withResolvers()
      await answered.promise
    }
  }
  isOver = true
  await Promise.all(clients)
  expect(statuses.map((all) => [...new Set(all)])).toEqual([[200], [200]])
  expect(door.log.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
})
