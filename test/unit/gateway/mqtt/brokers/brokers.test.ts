/** Several brokers, as scripted servers: which one a link goes to, and what it says first. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { describe, expect, test, vi } from 'vitest'
import { openLink, openTestBrokers, QUICK, type Heard } from '../../../../support/brokers.ts'
import { makePki } from '../../../../support/pki.ts'
import { CONNACK, scriptedBroker, type ScriptedBroker } from '../../../../support/scripted-broker.ts'
import { temporaryFolder } from '../../../../support/temporary.ts'

const HEALTH = '@sallyport-health'

/** A port that nobody listens on, just now. */
const closedPort = async (): Promise<number> => {
  const broker = await scriptedBroker()
  await broker[Symbol.asyncDispose]()
  return broker.port
}
const urls = (...ports: number[]): string => ports.map((port) => `mqtt://127.0.0.1:${port}`).join(',')
const up = async (brokers: { metrics(): Promise<string> }, port: number): Promise<string | undefined> =>
  new RegExp(`upstream_up\\{broker="127.0.0.1:${port}"[^}]*\\} (\\d+)`).exec(await brokers.metrics())?.[1]
const answered = ({ heard }: Heard): Promise<void> =>
  vi.waitFor(() => expect(heard().length).toBeGreaterThan(0))
const drop = (links: readonly Heard[]): Promise<unknown> => {
  for (const { link } of links) link.end('drop')
  return Promise.all(links.map(({ closed }) => closed))
}

describe('which broker', () => {
  test('one after the other', async () => {
    await using one = await scriptedBroker()
    await using two = await scriptedBroker()
    await using brokers = await openTestBrokers({ upstream: urls(one.port, two.port) })
    const links = Array.from({ length: 10 }, () => openLink(brokers, 'lamp'))
    await Promise.all(links.map(answered))
    expect([one.saying('lamp').length, two.saying('lamp').length]).toEqual([5, 5])
    expect(await brokers.metrics()).toMatch(
      new RegExp(`upstream_connections\\{broker="127.0.0.1:${one.port}"[^}]*\\} 5`),
    )
    await drop(links)
  })

  test('all addresses of a name, and those that it has later', async () => {
    await using one = await scriptedBroker({ listen: { port: 0, host: '127.0.0.1' } })
    await using two = await scriptedBroker({ listen: { port: one.port, host: '127.0.0.2' } })
    let ips = ['127.0.0.1', '127.0.0.2']
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      await using brokers = await openTestBrokers(
        { upstream: `mqtt://brokers.test:${one.port}` },
        { resolve: () => Promise.resolve(ips) },
      )
      const links = [openLink(brokers, 'lamp'), openLink(brokers, 'lamp')]
      await vi.waitFor(() => expect([one.saying('lamp').length, two.saying('lamp').length]).toEqual([1, 1]))
      ips = ['127.0.0.2']
      await vi.advanceTimersByTimeAsync(30_000)
      links.push(openLink(brokers, 'later'), openLink(brokers, 'later'))
      await vi.waitFor(() => expect([one.saying('later').length, two.saying('later').length]).toEqual([0, 2]))
      await drop(links)
    } finally {
      vi.useRealTimers()
    }
  })

  test('the next one, when one refuses: the client does not notice', async () => {
    const dead = await closedPort()
    await using alive = await scriptedBroker()
    await using brokers = await openTestBrokers({ upstream: urls(dead, alive.port) })
    const links = Array.from({ length: 20 }, () => openLink(brokers, 'lamp'))
    await Promise.all(links.map(answered))
    expect(alive.saying('lamp').length).toBe(20)
    expect(await up(brokers, dead)).toBe('0')
    await vi.waitFor(async () => expect(await up(brokers, alive.port)).toBe('1'))
    await drop(links)
  })

  test('none, when all are down: said at once, and nothing is tried', async () => {
    const dead = [await closedPort(), await closedPort()]
    await using brokers = await openTestBrokers(
      { upstream: urls(...dead) },
      { pace: { first: 60_000, most: 60_000, idle: 60_000, answer: 60_000, least: 60_000, exhausted: 1 } },
    )
    await vi.waitFor(() => expect(brokers.log.filter(({ why }) => why === 'refused').length).toBe(2))
    const before = await brokers.metrics()
    const links = Array.from({ length: 100 }, () => openLink(brokers, 'lamp'))
    await Promise.all(links.map(({ closed }) => closed))
    expect(links.flatMap(({ events }) => events)).toEqual(Array.from({ length: 100 }, () => 'closed'))
    const failures = (text: string): string[] => text.match(/upstream_failures_total\{.*/g) ?? []
    expect(failures(await brokers.metrics())).toEqual(failures(before))
  })

  test('one that comes back is used again, and said to be', async () => {
    const first = await scriptedBroker()
    const { port } = first
    await using brokers = await openTestBrokers({ upstream: urls(port) })
    const link = openLink(brokers, 'lamp')
    await answered(link)
    await first[Symbol.asyncDispose]()
    await link.closed
    await vi.waitFor(async () => expect(await up(brokers, port)).toBe('0'))
    await using again = await scriptedBroker({ listen: { port, host: '127.0.0.1' } })
    await vi.waitFor(async () => expect(await up(brokers, port)).toBe('1'))
    const second = openLink(brokers, 'lamp')
    await answered(second)
    expect(again.saying('lamp').length).toBe(1)
    expect(brokers.log.map(({ msg }) => msg)).toEqual([
      'a broker can be reached',
      'a broker cannot be reached',
      'a broker can be reached',
    ])
    await drop([second])
  })

  test.each<[string, (socket: Socket) => unknown, string]>([
    ['a proxy with nobody behind it', (socket) => socket.end(), 'silent'],
    ['something that is no broker', (socket) => socket.end(Buffer.from('HTTP/1.1 400')), 'silent'],
    ['one that is not available', (socket) => socket.end(Buffer.of(0x20, 2, 0, 3)), 'unavailable'],
  ])('not %s', async (_, answer, why) => {
    await using odd = await scriptedBroker({ said: (socket) => answer(socket) })
    await using good = await scriptedBroker()
    await using brokers = await openTestBrokers({ upstream: urls(odd.port, good.port) })
    await vi.waitFor(() => expect(brokers.log).toContainEqual(expect.objectContaining({ why })))
    const links = Array.from({ length: 4 }, () => openLink(brokers, 'lamp'))
    await Promise.all(links.map(answered))
    expect(good.saying('lamp').length).toBe(4)
    await drop(links)
  })

  test('one that refuses the health check’s name answers, and is used', async () => {
    await using strict = await scriptedBroker({
      said: (socket, bytes) => void socket.write(bytes.includes(HEALTH) ? Buffer.of(0x20, 2, 0, 5) : CONNACK),
    })
    await using brokers = await openTestBrokers({ upstream: urls(strict.port), upstream_username: 'gateway' })
    await vi.waitFor(async () => expect(await up(brokers, strict.port)).toBe('1'))
    expect(brokers.log).toContainEqual(expect.objectContaining({ level: 'warn', connack: 5 }))
  })

  test('one broken client does not take a broker away from the others', async () => {
    await using broker = await scriptedBroker({
      said: (socket, bytes) => void (bytes.includes('bad') ? socket.destroy() : socket.write(CONNACK)),
    })
    await using brokers = await openTestBrokers({ upstream: urls(broker.port) })
    for (let each = 0; each < 20; each++) await openLink(brokers, 'bad').closed
    const good = openLink(brokers, 'good')
    await answered(good)
    expect(await up(brokers, broker.port)).toBe('1')
    await drop([good])
  })

  test('not one that has stopped to answer: others go elsewhere, and who waits is told', async () => {
    let hangs = false
    const said = (socket: Socket): void => void (hangs || socket.write(CONNACK))
    await using sick = await scriptedBroker({ said })
    await using well = await scriptedBroker()
    await using brokers = await openTestBrokers(
      { upstream: urls(sick.port, well.port), upstream_timeout: '1s' },
      { pace: { ...QUICK, answer: 30 } },
    )
    await vi.waitFor(async () => expect(await up(brokers, sick.port)).toBe('1'))
    hangs = true
    const waits = [openLink(brokers, 'first'), openLink(brokers, 'first')]
    await vi.waitFor(() => expect(sick.saying(HEALTH).length).toBe(2))
    const later = Array.from({ length: 6 }, () => openLink(brokers, 'later'))
    await Promise.all(later.map(answered))
    expect(sick.saying('later')).toEqual([])
    expect(await up(brokers, sick.port)).toBe('1')
    await Promise.any(waits.map(({ closed }) => closed))
    expect(waits.map(({ events }) => events.join()).toSorted((a, b) => a.localeCompare(b))).toEqual([
      'closed',
      'data',
    ])
    expect(await up(brokers, sick.port)).toBe('0')
    await drop([...waits, ...later])
  })

  test('asks one broker for a hundred connections at once, and no more; the others follow', async () => {
    const dialled: number[] = []
    await using broker = await scriptedBroker({ connected: () => void dialled.push(1) })
    await using brokers = await openTestBrokers({ upstream: urls(broker.port) })
    const links = Array.from({ length: 450 }, () => openLink(brokers, 'lamp'))
    // of those that wait some leave
    for (const { link } of links.slice(300)) link.end('abort')
    await Promise.all(links.slice(0, 300).map(answered))
    expect(broker.saying('lamp').length).toBe(300)
    await drop(links)
  })

  test('a crowd at the moment of death is told at once', async () => {
    const port = await closedPort()
    await using brokers = await openTestBrokers({ upstream: urls(port) })
    const links = Array.from({ length: 1_000 }, () => openLink(brokers, 'lamp'))
    await Promise.all(links.map(({ closed }) => closed))
    const refused = /why="refused"[^}]*\} (\d+)/.exec(await brokers.metrics())?.[1]
    // those under way, and checks; not each of a thousand
    expect(Number(refused)).toBeLessThan(200)
  })
})

const pki = makePki({ now: Date.now() })
const serverOf = (names: readonly string[] = ['localhost', '127.0.0.1']) => {
  const { fullPem, keyPem } = pki.server(names)
  return { cert: fullPem, key: keyPem }
}

describe('over TLS', () => {
  const open = async (broker: ScriptedBroker, host: string, more: Record<string, string>, ip = '127.0.0.1') =>
    openTestBrokers(
      { upstream: `mqtts://${host}:${broker.port}`, ...more },
      { resolve: () => Promise.resolve([ip]) },
    )
  const files = () => {
    const folder = temporaryFolder()
    const leaf = pki.device({ id: 'gateway-1' })
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder.path, name), text, { mode: 0o600 })
      return join(folder.path, name)
    }
    return {
      ca: file('ca.pem', pki.root.pem),
      cert: file('c.pem', leaf.fullPem),
      key: file('c.key', leaf.keyPem),
      [Symbol.dispose]: () => folder[Symbol.dispose](),
    }
  }

  test('with our certificate, by name and by address, and without ALPN', async () => {
    using my = files()
    const settings = { upstream_ca: my.ca, upstream_cert: my.cert, upstream_key: my.key }
    const seen: (string | undefined)[] = []
    await using broker = await scriptedBroker({
      tls: { ...serverOf(), ca: pki.root.pem, requestCert: true },
      connected: (socket) => {
        const tls = socket as TLSSocket
        seen.push(`${tls.authorized} ${tls.servername || '-'} ${tls.alpnProtocol || '-'}`)
      },
    })
    for (const host of ['localhost', '127.0.0.1']) {
      await using brokers = await open(broker, host, settings)
      const link = openLink(brokers, `by ${host}`)
      await answered(link)
      link.link.write(Buffer.alloc(100_000, 1))
      await vi.waitFor(() => expect(broker.saying(`by ${host}`)[0]?.said().length).toBeGreaterThan(100_000))
      await drop([link])
    }
    expect(new Set(seen)).toEqual(new Set(['true localhost -', 'true - -']))
  })

  test('the next one, when one does not answer in half of the time', async () => {
    using my = files()
    await using silent = await scriptedBroker({ listen: { port: 0, host: '127.0.0.2' }, said: () => {} })
    await using alive = await scriptedBroker({
      tls: serverOf(),
      listen: { port: silent.port, host: '127.0.0.1' },
    })
    await using brokers = await openTestBrokers(
      { upstream: `mqtts://localhost:${alive.port}`, upstream_ca: my.ca, upstream_timeout: '1s' },
      { resolve: () => Promise.resolve(['127.0.0.2', '127.0.0.1']) },
    )
    const link = openLink(brokers, 'lamp')
    await answered(link)
    // it and the health check
    expect(silent.callers.length).toBe(2)
    await drop([link])
  })

  test.each<[string, string, boolean, string]>([
    ['another name', 'other.test', true, 'tls'],
    ['another address', '127.0.0.9', true, 'tls'],
    ['roots that do not know it', 'localhost', false, 'tls'],
  ])('not with %s', async (_, host, trusted, why) => {
    using my = files()
    await using broker = await scriptedBroker({
      tls: serverOf(['localhost', '127.0.0.1']),
      listen: { port: 0, host: host === '127.0.0.9' ? host : '127.0.0.1' },
    })
    await using brokers = await open(broker, host, trusted ? { upstream_ca: my.ca } : {})
    const { events, closed } = openLink(brokers, 'secret')
    await closed
    expect(events).toEqual(['closed'])
    expect(broker.saying('secret')).toEqual([])
    expect(brokers.log).toContainEqual(expect.objectContaining({ why }))
  })
})

describe('what is said of a client', () => {
  test.each([
    [{}, { username: 'lamp-1', password: undefined }],
    [{ upstream_username: 'gateway' }, { username: 'gateway', password: undefined }],
  ])('login with %j', async (settings, expected) => {
    await using broker = await scriptedBroker()
    await using brokers = await openTestBrokers({ upstream: urls(broker.port), ...settings })
    expect(brokers.login('lamp-1')).toEqual(expected)
    expect([...brokers.levels]).toEqual([3, 4, 5])
  })

  test.each([
    [{}, undefined, true],
    [{ upstream_engine: 'rabbitmq' }, true, false],
  ])('what it would read otherwise with %j', async (settings, reads, shared) => {
    await using broker = await scriptedBroker()
    await using brokers = await openTestBrokers({ upstream: urls(broker.port), ...settings })
    expect(brokers.readsOtherwise?.('devices/lamp.x')).toBe(reads)
    expect(brokers.sharedSubscriptions).toBe(shared)
  })

  test('the password of a file; nobody logs it', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'password')
    writeFileSync(path, 'open sesame\n', { mode: 0o600 })
    await using broker = await scriptedBroker()
    await using brokers = await openTestBrokers({ upstream: urls(broker.port), upstream_password_file: path })
    expect(Buffer.from(brokers.login('x').password ?? []).toString()).toBe('open sesame')
    await vi.waitFor(() => expect(broker.saying(HEALTH).length).toBe(1))
    expect(broker.saying('open sesame').length).toBe(1)
    expect(JSON.stringify(brokers.log)).not.toContain('sesame')
  })

  test('a PROXY header before all else, and LOCAL of the door’s own', async () => {
    await using broker = await scriptedBroker()
    await using brokers = await openTestBrokers({
      upstream: urls(broker.port),
      upstream_proxy_protocol: 'v2',
    })
    const link = openLink(brokers, 'CONNECT lamp-1')
    await vi.waitFor(() => expect(broker.saying('CONNECT lamp-1').length).toBe(1))
    await vi.waitFor(() => expect(broker.saying(HEALTH).length).toBe(1))
    const start = ([caller]: ScriptedBroker['callers'], end: number): string =>
      (caller as ScriptedBroker['callers'][0]).said().subarray(12, end).toString('hex')
    expect(start(broker.saying('CONNECT lamp-1'), 20)).toMatch(/^2111....c0000201$/)
    expect(start(broker.saying(HEALTH), 16)).toBe('20000000')
    await drop([link])
  })
})
