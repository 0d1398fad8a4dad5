/** What each part of the registry contract stands on: a registry of its own for each test, and how to see that nothing has changed. */

import { expect } from 'vitest'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Change, Registry, RegistryReader } from '#registry/registry.ts'
import { ISSUER, NOW } from '../../support/registry.ts'

export type Built = AsyncDisposable & {
  readonly registry: Registry
  /** another handle on the same memory, as the gateway has it */
  readonly reader: RegistryReader
  /** sets the clock that the registry was given */
  setClock(now: number): void
}

/** `registry`, `reader`, `built`: of the test that runs. */
export type Ground = {
  readonly built: Built
  readonly registry: Registry
  readonly reader: RegistryReader
  readonly build: () => Promise<Built>
  /** Everything that a verb could have changed, as text. */
  everything(): Promise<string>
  refusedUnchanged(act: () => Promise<unknown>, code: ErrorCode): Promise<void>
  /** of the audit, oldest first */
  actions(): Promise<readonly string[]>
  changesOf(act: () => Promise<unknown>): Promise<readonly Change[]>
}

export const refused = (promise: Promise<unknown>, code: ErrorCode) =>
  expect(promise).rejects.toMatchObject({ name: 'FleetError', code })

/** @param current gives what was built for the test that runs */
export const createGround = (build: () => Promise<Built>, current: () => Built): Ground => {
  const everything = async (): Promise<string> => {
    const { registry } = current()
    const devices = (await registry.listDevices({ now: NOW, limit: 1_000 })).items
    return JSON.stringify([
      await registry.listTokens({ limit: 1_000 }),
      await registry.listOperatorTokens({ limit: 1_000 }),
      devices,
      await Promise.all(devices.map(({ id }) => registry.certificatesOf(id))),
      await registry.listRequests({ limit: 1_000 }),
      await registry.issuers(),
      await registry.revokedCertificates(ISSUER, 0),
      await registry.revocationVersion(ISSUER).catch(() => undefined),
      await registry.lastExpiry(ISSUER),
      registry.access(),
      await registry.listServiceTokens({ limit: 1_000 }),
      registry.sessionRevocations(),
      await registry.anchorCrls(),
      await registry.listAudit({ limit: 1_000 }),
      await registry.assertionKeys(),
      await registry.cursor(),
      await registry.inboxCursor(),
    ])
  }
  return {
    build,
    get built() {
      return current()
    },
    get registry() {
      return current().registry
    },
    get reader() {
      return current().reader
    },
    everything,
    refusedUnchanged: async (act, code) => {
      const before = await everything()
      await refused(act(), code)
      expect(await everything()).toBe(before)
    },
    actions: async () =>
      (await current().registry.listAudit({ limit: 1_000 })).items.map(({ action }) => action),
    changesOf: async (act) => {
      const cursor = await current().reader.cursor()
      await act()
      return (await current().reader.changesSince(cursor)).changes
    },
  }
}
