/**
 * What a development start registers: this PKI as an anchor, a policy that lets every device in, the example origin behind both
 * doors. Through the operator API, like anybody. What somebody changed since stays changed, but for what changes with every start.
 */

import { readFileSync } from 'node:fs'
import { FleetError } from '#fleet/errors.ts'
import type { Config } from '#runtime/config.ts'
import type { Application, Fleet } from '#wire/rest.ts'
import type { OperatorApi } from '../operator-api.ts'

const NAMES = { anchor: 'development', policy: 'devices', application: 'example' } as const

const find = async (api: OperatorApi, name: string): Promise<Application | undefined> => {
  try {
    // what is read has an id, which is not ours to write
    const { id: _, ...rest } = await api.call<Application & { id: string }>('GET', `/v1/applications/${name}`)
    return rest
  } catch (error) {
    if (error instanceof FleetError && error.code === 'not_found') return undefined
    throw error
  }
}

const fresh = (hostnames: readonly string[], origin: string): Pick<Fleet, 'policies' | 'applications'> => ({
  policies: [{ name: NAMES.policy, decision: 'non_identity', include: [{ certificate: {} }] }],
  applications: [
    {
      name: NAMES.application,
      hostnames: [...hostnames],
      https: { path: '/*', origin },
      mqtt: {},
      policies: [NAMES.policy],
    },
  ],
})

export const registerExample = async (
  api: OperatorApi,
  o: { readonly config: Config; readonly hostnames: readonly string[]; readonly origin: string },
): Promise<void> => {
  const { ca } = o.config
  const pem = readFileSync(ca.root, 'utf8') + readFileSync(ca.intermediate, 'utf8')
  const known = await find(api, NAMES.application)
  const rest =
    known === undefined
      ? fresh(o.hostnames, o.origin)
      : {
          applications: [
            {
              ...known,
              hostnames: [...new Set([...known.hostnames, ...o.hostnames])],
              ...(known.https === undefined ? {} : { https: { ...known.https, origin: o.origin } }),
            },
          ],
        }
  const body: Fleet = { anchors: [{ name: NAMES.anchor, pem, hostnames: [...o.hostnames] }], ...rest }
  await api.call('POST', '/v1/apply', { body })
}
