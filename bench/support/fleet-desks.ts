/** Our own desks for a simulated fleet: enroll desk, gateway with its embedded broker, and an origin, with a claim token for so many devices. Not what the fleet does. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { addClaimToken } from '../../test/support/enroll-desk.ts'
import { makePki } from '../../test/support/pki.ts'
import { startEnroll } from './desk.ts'
import { CLIENT_CORE, startHelper, talkTo } from './helpers.ts'
import { prepareHome, startGateway } from './home.ts'
import type { OriginUp } from './ok-origin.ts'
import type { Pinned } from './pinned.ts'

export type FleetDesks = AsyncDisposable & {
  readonly path: string
  readonly enroll: Pinned
  readonly gateway: Pinned
  /** of `sim run`: where the desks are, and how to enrol there */
  readonly args: readonly string[]
}

export const openFleetDesks = async (devices: number): Promise<FleetDesks> => {
  await using opened = new AsyncDisposableStack()
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  opened.defer(() => {
    rmSync(path, { recursive: true, force: true })
  })
  mkdirSync(join(path, 'run'))
  const pki = makePki({ now: systemClock() })
  const origin = opened.use(startHelper(CLIENT_CORE, 'ok-origin.ts'))
  const access = {
    https: { path: '/*', origin: `http://127.0.0.1:${(await talkTo<object, OriginUp>(origin)).port}` },
    mqtt: {
      topics: [{ filter: 'devices/${device.id}/#', acts: ['publish', 'subscribe', 'receive'] as const }],
    },
  }
  await prepareHome({ home: path, pki, leaves: [], host: 'localhost', access })
  const enroll = await startEnroll({ path })
  opened.use(enroll.program)
  // only now: a registry with a history that no desk has seen is taken for a restored one, whose tokens are void
  let token: string
  {
    await using registry = await openRegistry({ path: join(path, 'db/sallyport.sqlite'), clock: systemClock })
    token = (await addClaimToken(registry, pki.root.facts.fingerprint, { uses: devices })).text
  }
  const gateway = await startGateway(path)
  opened.use(gateway.program)
  // by its name: a door knows its application by it
  const at = (door: 'https' | 'mqtts'): string =>
    `${door}://localhost:${new URL(gateway.urls[door] ?? '').port}`
  const stack = opened.move()
  return {
    path,
    enroll: enroll.program,
    gateway: gateway.program,
    args: Object.entries({
      'enroll-url': enroll.urls['devices'] ?? '',
      'https-url': at('https'),
      'mqtts-url': at('mqtts'),
      ca: join(path, 'certs/root.pem'),
      token,
    }).flatMap(([option, value]) => [`--${option}`, value]),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
