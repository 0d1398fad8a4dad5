/**
 * Asks the operator's own server before a certificate is made. Fails closed: whatever is not a plain, whole and timely yes or no is
 * `webhook_unavailable`, and nothing is signed. Not what an override may be: template and grammar of the group are the use case's.
 *
 * https only, to the URL of the group and nowhere else: a redirect is no answer, and no proxy is taken from the environment.
 */

import { createHmac } from 'node:crypto'
import { Agent } from 'undici'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { isDeviceId, type DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { tagsProblem, type Tags } from '#fleet/tags.ts'
import type { CsrFacts } from '#pki/csr.ts'
import type { Log } from '#runtime/log.ts'
import { readPrivateFile } from '#runtime/secrets.ts'
import { isWebhookAnswer, SIGNATURE_HEADER, type WebhookAnswer, type WebhookEvent } from '#wire/webhook.ts'
import type { Claim } from './claim.ts'

/** From the call to the last byte of the answer, connection included, ms. */
const TIMEOUT = 5 * SECOND
const MAX_ANSWER_BYTES = 65_536
/** Asked and not yet answered: in all, and of one group, so that a slow server holds up its own group only. */
const MOST_IN_FLIGHT = 256
const MOST_OF_GROUP = 64
/** Each `ca` has connections of its own. More of them than this: the oldest are closed. */
const MOST_AGENTS = 64
const RETRY_AFTER = 10
const MIN_SECRET = 32

/** `claim.variables`: what a bootstrap certificate says. `requestId`: the one in our log. `address`: remote IP. */
export type WebhookAsk = {
  readonly requestId: string
  readonly deviceId: DeviceId
  readonly claim: Pick<Claim, 'kind' | 'id' | 'fingerprint' | 'variables'>
  readonly csr: Pick<CsrFacts, 'spkiSha256' | 'key' | 'commonName'>
  readonly address: string
}

export type WebhookVerdict =
  | { readonly allow: true; readonly deviceId?: DeviceId; readonly tags?: Tags }
  | { readonly allow: false; readonly detail: string }

export interface Webhooks extends AsyncDisposable {
  /** For a group that has a webhook. @throws `webhook_unavailable` with retryAfter */
  ask(group: Pick<EnrollmentGroup, 'name' | 'webhook'>, ask: WebhookAsk): Promise<WebhookVerdict>
}

/** `enroll.webhook_secret_file`. @throws `config_invalid` */
export const readWebhookSecret = (path: string): string => {
  const secret = readPrivateFile(path)
  if (secret.length < MIN_SECRET)
    throw new FleetError('config_invalid', `${path}: expected a secret of at least ${MIN_SECRET} characters`)
  return secret
}

const eventOf = (group: string, { requestId, deviceId, claim, csr, address }: WebhookAsk): WebhookEvent => ({
  type: 'enrollment',
  request_id: requestId,
  device_id: deviceId,
  group,
  address,
  credential: { kind: claim.kind, id: claim.id },
  csr: { spki_sha256: csr.spkiSha256, key_kind: csr.key.kind, common_name: csr.commonName ?? null },
  ...(claim.kind === 'bootstrap'
    ? {
        bootstrap_certificate: {
          sha256: claim.fingerprint ?? claim.id,
          common_name: claim.variables['cert.cn'] ?? null,
          serial_number: claim.variables['cert.serial_number'] ?? null,
        },
      }
    : {}),
})

/** @param seconds Unix time */
export const signatureOf = (secret: string, seconds: number, body: string): string =>
  `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`

const verdictOf = (answer: WebhookAnswer): WebhookVerdict => {
  if (!answer.allow) {
    // it goes to the device, and into our log
    const reason = answer.reason?.replaceAll(/\p{C}/gu, ' ').trim() ?? ''
    return { allow: false, detail: reason === '' ? 'the enrolment webhook said no' : reason }
  }
  const { device_id: deviceId, tags } = answer
  if (deviceId !== undefined && !isDeviceId(deviceId)) throw new Error('device_id is not a device id')
  const problem = tags === undefined ? undefined : tagsProblem(tags)
  if (problem !== undefined) throw new Error(`tags: ${problem}`)
  return {
    allow: true,
    ...(deviceId === undefined ? {} : { deviceId }),
    ...(tags === undefined ? {} : { tags }),
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

const post = async (
  agent: Agent,
  url: URL,
  o: { readonly headers: Record<string, string>; readonly body: string; readonly timeout: number },
) => {
  const answer = await agent.request({
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method: 'POST',
    headers: o.headers,
    body: o.body,
    signal: AbortSignal.timeout(o.timeout),
  })
  const type = String(answer.headers['content-type'] ?? '')
  const plain = answer.headers['content-encoding'] === undefined && /^application\/json *(?:;|$)/i.test(type)
  if (answer.statusCode !== 200 || !plain) {
    // what it says is of no use, and is not waited for
    answer.body.on('error', () => undefined).destroy()
    throw new Error(`it answered ${answer.statusCode} ${type}`)
  }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES) throw new Error(`its answer is larger than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  const said: unknown = JSON.parse(utf8.decode(Buffer.concat(chunks)))
  if (!isWebhookAnswer(said)) throw new Error('its answer is not {allow, device_id?, tags?, reason?}')
  return verdictOf(said)
}

const agentFor = (ca: string | undefined): Agent => {
  // '' and garbage would mean every public root, or none, without a word
  if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----')) throw new Error('its ca is no PEM')
  return new Agent({
    connect: { rejectUnauthorized: true, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) },
    // one for each that may be under way: none waits behind another group's
    connections: MOST_IN_FLIGHT,
    pipelining: 1,
    allowH2: false,
    headersTimeout: TIMEOUT,
    bodyTimeout: TIMEOUT,
    maxHeaderSize: 16_384,
    maxResponseSize: MAX_ANSWER_BYTES,
  })
}

/** @param o.secret undefined: none is configured, so every webhook is unavailable */
export const createWebhooks = (o: {
  readonly secret: string | undefined
  readonly clock: Clock
  readonly log: Pick<Log, 'warn'>
  /** ms; for tests */
  readonly timeout?: number
}): Webhooks => {
  const agents = new Map<string, Agent>()
  const underWay = new Map<string, number>()
  let all = 0

  const agentOf = (ca: string | undefined): Agent => {
    const key = ca ?? ''
    const agent = agents.get(key) ?? agentFor(ca)
    agents.delete(key)
    agents.set(key, agent)
    for (const [old, other] of agents) {
      if (agents.size <= MOST_AGENTS) break
      agents.delete(old)
      void other.close().catch(() => undefined)
    }
    return agent
  }

  const unavailable = (group: string, why: unknown): FleetError => {
    o.log.warn({ group, err: why }, 'the enrolment webhook is not available: nobody of its group enrols')
    return new FleetError('webhook_unavailable', 'ask again later', { retryAfter: RETRY_AFTER, cause: why })
  }

  return {
    async ask({ name, webhook }, ask) {
      if (webhook === undefined) throw unavailable(name, new Error('the group has none'))
      if (o.secret === undefined) throw unavailable(name, new Error('enroll.webhook_secret_file is not set'))
      const mine = underWay.get(name) ?? 0
      if (all >= MOST_IN_FLIGHT || mine >= MOST_OF_GROUP)
        throw unavailable(name, new Error('too many enrolments wait for it'))
      all += 1
      underWay.set(name, mine + 1)
      try {
        const url = new URL(webhook.url)
        if (url.protocol !== 'https:') throw new Error('its URL is not https')
        const body = JSON.stringify(eventOf(name, ask))
        const headers = {
          'content-type': 'application/json',
          accept: 'application/json',
          'user-agent': 'sallyport',
          [SIGNATURE_HEADER]: signatureOf(o.secret, Math.floor(o.clock() / SECOND), body),
        }
        return await post(agentOf(webhook.ca), url, { headers, body, timeout: o.timeout ?? TIMEOUT })
      } catch (error) {
        throw unavailable(name, error)
      } finally {
        all -= 1
        const left = (underWay.get(name) ?? 1) - 1
        if (left > 0) underWay.set(name, left)
        else underWay.delete(name)
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()))
    },
  }
}
