/**
 * What a simulation asks of an operator, over the public operator API: claim tokens, the states of devices, steps of a CA's rotation, things of
 * its own that are put and removed again (staging.ts). Not a client of all of it: that is the CLI's.
 */

import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import { isLoopback } from '#runtime/config.ts'
import type { AnchorBody, ApplicationBody, PolicyBody } from '#wire/access.ts'
import type { GroupBody } from '#wire/groups.ts'
import type { Device, Issuer, IssuerMoved, TokenCreate, TokenCreated } from '#wire/rest.ts'
import { clientContext, hostOf } from './connection.ts'
import { exchange, httpsOnce, type Answer } from './https-once.ts'
import { refusalOf } from './refusal.ts'

export type RotationStep = 'distribute' | 'activate' | 'retire'

/** What may be put under a name, and by which path. */
type Named = {
  readonly anchors: AnchorBody
  readonly applications: ApplicationBody
  readonly policies: PolicyBody
  readonly groups: GroupBody
}
export type NamedKind = keyof Named
export type Listed = { readonly name: string; readonly hostnames?: readonly string[] }

/** Everything returns once the operator API has said that it is done. Throws the server's reason, or `target_unreachable`. */
export type Operator = {
  createToken(body: TokenCreate): Promise<TokenCreated>
  /** certificates that it gave stay */
  revokeToken(id: string): Promise<void>

  device(deviceId: string): Promise<Device>
  /** the id that comes after this one, of whatever state; undefined: none does */
  deviceAfter(deviceId: string): Promise<string | undefined>
  /** @param reason `keyCompromise` when nothing is said: somebody else may have the key */
  revoke(deviceId: string, reason?: GivenRevocationReason): Promise<void>
  suspend(deviceId: string): Promise<void>
  resume(deviceId: string): Promise<void>
  retire(deviceId: string): Promise<void>
  /** one certificate; its device stays */
  revokeCertificate(serial: string): Promise<void>

  issuers(): Promise<readonly Issuer[]>
  /** @param force whatever the numbers say */
  moveIssuer(ski: string, step: RotationStep, force: boolean): Promise<IssuerMoved>

  /** `hostnames`: of anchors and applications; others have none */
  list(kind: NamedKind): Promise<readonly Listed[]>
  /** Makes it. @throws `precondition_failed`: there is one of this name, which is left as it is */
  make<K extends NamedKind>(kind: K, name: string, body: Named[K]): Promise<void>
  /** Makes it, or puts it in the place of what there is. */
  put<K extends NamedKind>(kind: K, name: string, body: Named[K]): Promise<void>
  /** Removes it; one that is not there is removed. */
  remove(kind: NamedKind, name: string): Promise<void>
  /** @param crl PEM, of one of the CAs of the anchor */
  putAnchorCrl(anchor: string, crl: string): Promise<void>
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
type Call = { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }

/** of a list; more than this many pages is more than anybody's */
const PAGE = 1_000
const MOST_PAGES = 100

/** How far an issuer has come by the time that a step is due. */
const FROM: Readonly<Record<RotationStep, Issuer['state']>> = {
  distribute: 'prepared',
  activate: 'offered',
  retire: 'retiring',
}

/** The oldest one that the step is due for; one is activated only where its key is. @returns undefined: none has come so far */
export const issuerFor = (issuers: readonly Issuer[], step: RotationStep): Issuer | undefined =>
  issuers.find(({ state, key_here }) => state === FROM[step] && (step !== 'activate' || key_here))

/** One step of the rotation, for whichever issuer it is due. @throws `conflict`: none is; the server's reason; `target_unreachable` */
export const rotate = async (
  operator: Pick<Operator, 'issuers' | 'moveIssuer'>,
  step: RotationStep,
  force: boolean,
): Promise<IssuerMoved> => {
  const issuers = await operator.issuers()
  const issuer = issuerFor(issuers, step)
  if (issuer === undefined)
    throw new FleetError(
      'conflict',
      `no issuer to ${step}: ${issuers.map(({ ski, state }) => `${ski.slice(0, 8)} is ${state}`).join(', ') || 'there is none'}`,
    )
  return operator.moveIssuer(issuer.ski, step, force)
}

/**
 * @param o.url plain http only to this machine: the token is the keys to the fleet
 * @throws `config_invalid`: plain http to another. What it returns throws the server's reason, or `target_unreachable`
 */
export const createOperator = (o: {
  readonly url: string
  readonly token: string
  readonly rootPem: string
  readonly signal?: AbortSignal | undefined
}): Operator => {
  const base = new URL(o.url)
  const host = hostOf(base)
  if (base.protocol !== 'https:' && !isLoopback(host))
    throw new FleetError(
      'config_invalid',
      `${base.origin}: an operator token is sent over https, or to this machine only`,
    )
  // no root at all is not the public web's
  const context = base.protocol === 'https:' ? clientContext({ rootPem: o.rootPem || undefined }) : undefined
  const send = async (method: Method, path: string, { body, headers }: Call): Promise<Answer> => {
    const url = new URL(path, o.url)
    const request = {
      method,
      headers: {
        authorization: `Bearer ${o.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'POST' ? { 'idempotency-key': randomUUID() } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: o.signal,
    }
    const answer =
      context === undefined
        ? await exchange(connect(Number(url.port || '80'), host), url, request)
        : await httpsOnce({ ...request, url: url.href, context })
    if (answer.status >= 400) throw refusalOf(answer, [o.token])
    return answer
  }
  const call = async <T>(method: Method, path: string, more: Call = {}): Promise<T> => {
    const { body } = await send(method, path, more)
    return (body.length === 0 ? undefined : JSON.parse(body.toString())) as T
  }
  const all = async <T>(path: string): Promise<readonly T[]> => {
    const items: T[] = []
    let after: string | null = ''
    for (let page = 0; after !== null && page < MOST_PAGES; page++) {
      const from: string = after === '' ? '' : `&after=${encodeURIComponent(after)}`
      const answer: { items: readonly T[]; next: string | null } = await call(
        'GET',
        `${path}?limit=${PAGE}${from}`,
      )
      items.push(...answer.items)
      after = answer.next
    }
    return items
  }
  const deviceAt = (deviceId: string): string => `/v1/devices/${encodeURIComponent(deviceId)}`
  const at = (kind: NamedKind, name: string): string => `/v1/${kind}/${encodeURIComponent(name)}`
  const tell = async (deviceId: string, verb: string, body: object = {}): Promise<void> => {
    await call('POST', `${deviceAt(deviceId)}/${verb}`, { body })
  }
  return {
    createToken: (body) => call('POST', '/v1/tokens', { body }),
    async revokeToken(id) {
      await call('POST', `/v1/tokens/${encodeURIComponent(id)}/revoke`, { body: {} })
    },

    device: (deviceId) => call('GET', deviceAt(deviceId)),
    async deviceAfter(deviceId) {
      const path = `/v1/devices?limit=1&after=${encodeURIComponent(deviceId)}`
      const { items } = await call<{ items: readonly Device[] }>('GET', path)
      return items[0]?.id
    },
    revoke: (deviceId, reason = 'keyCompromise') => tell(deviceId, 'revoke', { reason }),
    suspend: (deviceId) => tell(deviceId, 'suspend'),
    resume: (deviceId) => tell(deviceId, 'resume'),
    retire: (deviceId) => tell(deviceId, 'retire'),
    async revokeCertificate(serial) {
      await call('POST', `/v1/certificates/${encodeURIComponent(serial)}/revoke`, { body: {} })
    },

    issuers: () => all('/v1/issuers'),
    moveIssuer: (ski, step, force) =>
      call('POST', `/v1/issuers/${encodeURIComponent(ski)}/${step}`, { body: { force } }),

    list: (kind) => all<Listed>(`/v1/${kind}`),
    async make(kind, name, body) {
      await call('PUT', at(kind, name), { body, headers: { 'if-none-match': '*' } })
    },
    async put(kind, name, body) {
      await call('PUT', at(kind, name), { body })
    },
    async remove(kind, name) {
      try {
        await call('DELETE', at(kind, name))
      } catch (error) {
        if (!(error instanceof FleetError && error.code === 'not_found')) throw error
      }
    },
    async putAnchorCrl(anchor, crl) {
      await call('PUT', `${at('anchors', anchor)}/crl`, { body: { crl } })
    },
  }
}
