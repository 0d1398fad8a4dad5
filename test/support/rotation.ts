/**
 * An enrol desk and a gateway over one registry in this process, and the operator's command line beside them: what a CA rotation needs.
 * Its clock began ten days ago, so that days can pass and certificates are good for OpenSSL, whose clock is the real one. The gateway's
 * anchor holds the root and nothing else.
 */

import { vi } from 'vitest'
import { run } from '#cli/run.ts'
import { DAY } from '#fleet/clock.ts'
import { openGateway } from '#gateway/service.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import {
  addOperatorToken,
  call,
  makeHome,
  startDesk,
  type Answer,
  type Home,
  type TestDesk,
} from './enroll-desk.ts'
import { keyPemOf, makeCsr, type KeyPair } from './pki.ts'
import { openRecordingOrigin } from './recording-origin.ts'
import { ACTOR, anchor, application, policy } from './registry.ts'
import { temporaryFolder } from './temporary.ts'

export type Device = KeyPair & {
  readonly id: string
  /** of its claim token, to ask again */
  readonly token: string
  readonly csr: string
  readonly keyPem: string
  readonly certPem: string
  readonly chainPem: string
}

export type Rotation = AsyncDisposable & {
  readonly home: Home
  /** the desk of the moment: {@link Rotation.restart} begins another */
  desk(): TestDesk
  restart(): Promise<void>
  now(): number
  pass(ms: number): void
  enroll(id: string): Promise<Device>
  /** as that device, at this desk */
  as(device: Device, path: string, body?: unknown): Promise<Answer>
  /** `sallyport …`; standard output, or what went wrong */
  cli(...words: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }>
  json<T>(...words: string[]): Promise<T>
  /** the reason of the gateway's answer, or `allowed`. @param chain what is sent above the leaf; default: nothing */
  knock(device: Pick<Device, 'keyPem' | 'certPem'>, chain?: string): Promise<string>
  /** until the gateway says so: it reads the feed every few milliseconds */
  says(reason: string, device: Pick<Device, 'keyPem' | 'certPem'>, chain?: string): Promise<void>
}

const HOST = 'localhost'

export const startRotation = async (): Promise<Rotation> => {
  await using opened = new AsyncDisposableStack()
  let now = Date.now() - 10 * DAY
  const clock = () => now
  const { path } = opened.use(temporaryFolder())
  const home = await makeHome(path, { now })
  let desk = await startDesk({ home, clock })
  opened.defer(() => desk.stop())
  let operator = await addOperatorToken(desk.registry, 'admin', now)

  const origin = opened.use(await openRecordingOrigin())
  await desk.registry.applyAccess(
    {
      anchors: [anchor({ hostnames: [HOST], pem: home.pki.root.pem })],
      applications: [application({ hostnames: [HOST], https: { path: '/*', origin: origin.url } })],
      policies: [policy()],
    },
    now,
    ACTOR,
  )
  const config = loadConfig({
    desk: 'gateway',
    cwd: path,
    env: { SALLYPORT_HOME: path, SALLYPORT_ENVIRONMENT: 'development' },
    overrides: { 'gateway.https_listen': '127.0.0.1:0', 'gateway.mqtts_listen': '127.0.0.1:0' },
  })
  const log = createLog('gateway', 'silent')
  const { signal } = new AbortController()
  // the real time: a door's clock is not what is tried here
  const scope = { log, metrics: createMetrics('gateway'), clock: () => Date.now(), signal }
  const gateway = opened.use(await openGateway(config, scope))
  const door = (gateway.urls['https'] as string).replace(/\/\/[^:]+:/, '//127.0.0.1:')

  const knock: Rotation['knock'] = async ({ keyPem, certPem }, chain = '') => {
    const answer = await call(`${door}/`, {
      headers: { host: HOST },
      tls: { ca: home.pki.root.pem, servername: HOST, key: keyPem, cert: certPem + chain },
    })
    return answer.status === 200 ? 'allowed' : String(answer.json?.['reason'])
  }
  const cli: Rotation['cli'] = async (...words) => {
    const text = { out: '', err: '' }
    const code = await run(words, {
      out: { write: (more) => (text.out += more) },
      err: { write: (more) => (text.err += more) },
      env: {
        SALLYPORT_HOME: path,
        SALLYPORT_ENROLL_OPERATOR_URL: desk.urls['operator'],
        SALLYPORT_OPERATOR_TOKEN: operator,
      },
      cwd: path,
      clock,
      goOnUnread() {},
    })
    return { code, ...text }
  }
  const owned = opened.move()
  return {
    home,
    desk: () => desk,
    restart: async () => {
      await desk.stop()
      desk = await startDesk({ home, clock })
      operator = await addOperatorToken(desk.registry, 'admin', now)
    },
    now: clock,
    pass: (ms) => {
      now += ms
    },
    enroll: async (id) => {
      const { text } = await desk.claim({ expiresAt: now + 30 * DAY })
      const { pem, ...key } = makeCsr({ commonName: id })
      const answer = await desk.device('/v1/enroll', { token: text, body: { csr: pem } })
      if (answer.status !== 201) throw new Error(`${id} was not enrolled: ${answer.text}`)
      return {
        ...key,
        id,
        token: text,
        csr: pem,
        keyPem: keyPemOf(key.privateKey),
        certPem: answer.json?.['certificate'] as string,
        chainPem: answer.json?.['chain'] as string,
      }
    },
    as: (device, where, body) =>
      desk.device(where, {
        ...(body === undefined ? {} : { body }),
        tls: { key: device.keyPem, cert: device.certPem },
      }),
    cli,
    json: async <T>(...words: string[]): Promise<T> => {
      const { code, out, err } = await cli(...words, '--json')
      if (code !== 0) throw new Error(`${words.join(' ')}: exit ${code}: ${err}`)
      return JSON.parse(out) as T
    },
    knock,
    says: (reason, device, chain) =>
      vi.waitFor(
        async () => {
          const said = await knock(device, chain)
          if (said !== reason) throw new Error(`the door says ${said}, not ${reason}`)
        },
        { timeout: 10_000, interval: 20 },
      ),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
