/** Routes of what is known before anybody enrols: devices by the thousand, and keys that are never certified. */

import * as wire from '#wire/bulk.ts'
import { PageQuery } from '#wire/rest.ts'
import type { App } from './http-app.ts'
import { importDevices } from './import-devices.ts'
import { actorOf, type OperatorApiDeps } from './operator-deps.ts'
import { instant } from './wire-time.ts'

export const bulkRoutes = (app: App, deps: OperatorApiDeps): void => {
  const { registry, clock } = deps

  app.post(
    '/v1/devices/import',
    {
      config: { role: 'operator' },
      schema: {
        summary: `Registers devices, ${wire.MOST_LINES} at most; each line has its own result, and sending it again changes nothing`,
        body: wire.ImportRequest,
        response: { 200: wire.ImportAnswer },
      },
    },
    async (request) => ({
      results: [...(await importDevices(deps, request.body.devices, actorOf(request)))],
    }),
  )

  app.get(
    '/v1/blocked-keys',
    {
      config: { role: 'viewer' },
      schema: {
        summary: 'Keys that are never certified',
        querystring: PageQuery,
        response: { 200: wire.BlockedKeys },
      },
    },
    async ({ query: { after, limit = 100 } }) => {
      const { items, next } = await registry.listBlockedKeys({ after, limit })
      return {
        items: items.map(({ spkiSha256, blockedAt }) => ({
          spki_sha256: spkiSha256,
          blocked_at: instant(blockedAt),
        })),
        next: next ?? null,
      }
    },
  )

  app.post(
    '/v1/blocked-keys',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'Keys are not certified from now on, whoever asks; certificates that have them stay',
        body: wire.BlockKeys,
        response: { 200: wire.KeysBlocked },
      },
    },
    async (request) => ({
      added: await registry.blockKeys(request.body.spki_sha256, clock(), actorOf(request)),
    }),
  )

  app.post(
    '/v1/blocked-keys/unblock',
    {
      config: { role: 'admin' },
      schema: {
        summary:
          'Keys may be certified again; those that were reported compromised with a device stay blocked',
        body: wire.BlockKeys,
        response: { 200: wire.KeysUnblocked },
      },
    },
    async (request) => {
      const actor = actorOf(request)
      const done = await Promise.all(
        request.body.spki_sha256.map((spki) => registry.unblockKey(spki, clock(), actor)),
      )
      return { removed: done.filter(Boolean).length }
    },
  )
}
