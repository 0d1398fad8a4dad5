/**
 * The signer put together: keys → log → socket. A process of its own, which alone holds the keys of the issuing CAs, has no network and
 * no registry, and does one thing: what #pki/issuer.ts does, for a desk that may not be trusted with it. docs/signer.md.
 */

import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { becomeOnlyDesk } from '#registry/sqlite.ts'
import type { Config } from '#runtime/config.ts'
import { VERSION } from '#runtime/run-file.ts'
import type { Scope, Service } from '#runtime/run.ts'
import { createConnections } from './connections.ts'
import { openJournal } from './journal.ts'
import { openKeys } from './keys.ts'
import { createQuota } from './quota.ts'
import { createSerials } from './serials.ts'
import { createSigning } from './signing.ts'
import { groupId, listenOnSocket } from './socket.ts'

const becomeOnlyWriter = async (path: string, clock: Clock): Promise<Disposable> => {
  try {
    return await becomeOnlyDesk({
      path,
      clock,
      taken: (holder) => `signer.log: ${holder} writes ${path}; two signers would break each other's chain`,
    })
  } catch (error) {
    if (!(error instanceof FleetError) || error.code === 'config_invalid') throw error
    throw new FleetError('config_invalid', `signer.log: ${path} cannot be written`, { cause: error })
  }
}

/** @throws FleetError `config_invalid`: a key, the log or the socket, and what is wrong with it */
export const openSigner = async (config: Config, { log, clock }: Scope): Promise<Service> => {
  const { signer, enroll } = config
  await using opened = new AsyncDisposableStack()

  const group = signer.socket_group === undefined ? undefined : groupId(signer.socket_group)
  const keys = opened.use(await openKeys({ config, clock, log }))
  opened.use(await becomeOnlyWriter(signer.log, clock))
  const journal = opened.use(openJournal({ path: signer.log, version: VERSION, clock, log }))
  const { head, counted, serials } = journal.remembered
  log.info({ path: signer.log, lines: head.n, sha256: head.sha256 }, 'the log goes on after this line')

  const signing = createSigning({
    issuerOf: (ski) => keys.of(ski),
    journal,
    quota: createQuota({ certificates: signer.certificates_per_hour, counted, clock }),
    serials: createSerials(serials),
    clock,
    maxTtl: signer.max_ttl,
  })
  const connections = opened.use(
    createConnections({
      signing,
      log,
      hello: async () => {
        await keys.refresh()
        return {
          version: VERSION,
          status_url: enroll.status_url.replace(/\/+$/, ''),
          issuers: keys.all().map(({ ski, certificate, notAfter }) => ({
            ski,
            sha256: certificate.fingerprint,
            not_after: notAfter,
          })),
        }
      },
    }),
  )
  await listenOnSocket(connections.server, { path: signer.socket, group })

  const owned = opened.move()
  return {
    urls: { socket: signer.socket },
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync()
      const { n, sha256 } = journal.head()
      log.info({ lines: n, sha256 }, 'the last line of the log')
    },
  }
}
