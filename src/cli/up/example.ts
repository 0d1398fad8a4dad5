/**
 * What a development start registers: this PKI as an anchor, a policy that lets every device in, the example origin behind both
 * doors. Through the operator API, like anybody. What somebody changed since stays changed, but for what changes with every start.
 */

import { readFileSync } from 'node:fs'
import { FleetError } from '#fleet/errors.ts'
import type { Config } from '#runtime/config.ts'
import type { Application, Fleet } from '#wire/access.ts'
import type { OperatorApi } from '../operator-api.ts'

const NAMES = { anchor: 'development', policy: 'devices', application: 'example' } as const

/** What is read has an id, which is not ours to write. */
type Stored = Application & { readonly id: string }

const find = async (api: OperatorApi, name: string): Promise<Stored | undefined> =>
  (await api.find<Stored>(`/v1/applications/${name}`))?.value

const fresh = (hostnames: readonly string[]): Pick<Fleet, 'policies' | 'applications'> => ({
  policies: [{ name: NAMES.policy, decision: 'non_identity', include: [{ certificate: {} }] }],
  applications: [
    {
      name: NAMES.application,
      hostnames: [...hostnames],
      // until the origin is there: nobody listens on the discard port
      https: { path: '/*', origin: 'http://127.0.0.1:9' },
      mqtt: {},
      policies: [NAMES.policy],
    },
  ],
})

/** @returns what the example origin must know to tell an assertion that is meant for it */
export const registerExample = async (
  api: OperatorApi,
  o: { readonly config: Config; readonly hostnames: readonly string[] },
): Promise<{ readonly audience: string; readonly hostnames: readonly string[] }> => {
  const { ca } = o.config
  const pem = readFileSync(ca.root, 'utf8') + readFileSync(ca.intermediate, 'utf8')
  const anchors = [{ name: NAMES.anchor, pem, hostnames: [...o.hostnames] }]
  const known = await find(api, NAMES.application)
  await api.call('POST', '/v1/apply', {
    body: { anchors, ...(known === undefined ? fresh(o.hostnames) : {}) } satisfies Fleet,
  })
  const { id, hostnames } = known ?? (await api.call<Stored>('GET', `/v1/applications/${NAMES.application}`))
  return { audience: id, hostnames: [...new Set([...hostnames, ...o.hostnames])] }
}

/** Its port is another one at every start. */
export const pointExampleAt = async (
  api: OperatorApi,
  o: { readonly hostnames: readonly string[]; readonly origin: string },
): Promise<void> => {
  const known = await find(api, NAMES.application)
  if (known === undefined) throw new FleetError('not_found', `the application ${NAMES.application} is gone`)
  const { id: _, ...application } = known
  const https = application.https === undefined ? {} : { https: { ...application.https, origin: o.origin } }
  await api.call('POST', '/v1/apply', {
    body: { applications: [{ ...application, hostnames: [...o.hostnames], ...https }] } satisfies Fleet,
  })
}
