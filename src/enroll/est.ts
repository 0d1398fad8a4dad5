/**
 * EST (RFC 7030, RFC 8951) on the device listener: cacerts, csrattrs, simpleenroll with HTTP Basic or a certificate, simplereenroll
 * with the current certificate; each also under the label of a group. Translates only: the use cases are those of the REST API.
 * docs/est.md says what is decided where the RFC leaves it open. The octets: est-messages.ts. Who asks: est-asker.ts.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { FIRST_GROUP, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { csrAttributes } from '#pki/csr-attributes.ts'
import { loggedOf } from './device-api.ts'
import { enrollDevice, isWaiting, type Waiting } from './enroll-device.ts'
import { authenticateEstAsker, checkLabel, checkSameNames, groupOfLabel } from './est-asker.ts'
import {
  basicOf,
  CERTS,
  CERTS_ONLY,
  CSR_ATTRIBUTES,
  csrFrom,
  sendCertificates,
  sendDer,
  sendNothing,
  sendNotOffered,
  sendRefusal,
  sendWaiting,
} from './est-messages.ts'
import { addressOf, peerOf, type App, type Refusal } from './http-app.ts'
import { acceptCsrInTurn, MAX_CSR_BYTES, type IssuanceDeps, type Issued } from './issuance.ts'
import { acceptRenewer, renewFor } from './renew-device.ts'
import { asFleetError } from './thrown.ts'
import type { Trust } from './trust.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** of the label in the path; undefined: there is none */
    labelled: EnrollmentGroup | undefined
    /** to enrol in, where the credential does not say it */
    enrolsIn: string | undefined
  }
}

const ROOT = '/.well-known/est'
const PATHS = [ROOT, `${ROOT}/:label`] as const
/** {@link MAX_CSR_BYTES} in base64, with line ends however short the lines. */
const MAX_BODY = MAX_CSR_BYTES * 2

const NOT_OFFERED = {
  serverkeygen: 'a private key is made where it stays, on the device',
  fullcmc: 'use simpleenroll and simplereenroll',
} as const

const sendAnswer = (request: FastifyRequest, reply: FastifyReply, answer: Issued | Waiting): void => {
  request.logged = { ...request.logged, ...loggedOf(answer) }
  if (isWaiting(answer)) sendWaiting(request, reply, answer.requestId, answer.retryAfter)
  // §4.2.3: the issued certificate and nothing else; the chain is in cacerts
  else sendCertificates(request, reply, CERTS_ONLY, [answer.der])
}

/** The label of a path that no route answers; undefined: none that can be read. */
const labelIn = (url: string): string | undefined => {
  const [path = ''] = url.split('?')
  const [label, operation] = path.slice(ROOT.length + 1).split('/')
  try {
    return label === undefined || operation === undefined ? undefined : decodeURIComponent(label)
  } catch {
    return undefined
  }
}

/** What no route answers, in EST's words. Another method is said of labels that there are. */
const refuseElsewhere =
  ({ registry }: Pick<IssuanceDeps, 'registry'>): Refusal =>
  (request, reply, thrown) => {
    let error = thrown
    try {
      if (error.code === 'method_not_allowed') groupOfLabel(registry.groups(), labelIn(request.url))
    } catch (unknown) {
      error = asFleetError(unknown)
      reply.removeHeader('allow')
    }
    sendRefusal(request, reply, error)
  }

/** Both: what devices' certificates are verified with, and what servers are. A client takes this desk's from here too (§4.1.3). */
const trusted = (trust: Pick<Trust, 'current'>): readonly Uint8Array[] => {
  const seen = new Map<string, Uint8Array>()
  for (const kind of ['chain', 'server'] as const)
    for (const der of trust.current(kind).ders) seen.set(Buffer.from(der).toString('latin1'), der)
  return [...seen.values()]
}

/** Whose rules count for a client that has not said who it is. undefined: that cannot be told */
const rulesFor = (deps: IssuanceDeps, request: FastifyRequest): EnrollmentGroup | undefined => {
  const groups = deps.registry.groups()
  if (request.labelled !== undefined) return request.labelled
  const leaf = peerOf(request)?.leaf
  const device = leaf === undefined ? undefined : deps.registry.status(leaf.fingerprint)
  if (device !== undefined) return groups.get(device.group)
  return groups.size === 1 ? groups.get(FIRST_GROUP) : undefined
}

/** @param trust what is given out as cacerts, and who hears that a device has it */
export const registerEst = async (
  app: App,
  deps: IssuanceDeps,
  trust: Pick<Trust, 'current' | 'fetched'>,
): Promise<void> => {
  app.decorateRequest('labelled')
  app.decorateRequest('enrolsIn')
  app.refusals.set(`${ROOT}/`, refuseElsewhere(deps))

  // the parsers and the text refusals are EST's own: encapsulated, the REST routes keep theirs
  await app.register((est, _options, done) => {
    est.removeAllContentTypeParsers()
    est.addContentTypeParser(
      'application/pkcs10',
      { parseAs: 'buffer', bodyLimit: MAX_BODY },
      (_request, body, parsed) => {
        parsed(null, body)
      },
    )
    est.setErrorHandler((thrown, request, reply) => {
      const error = asFleetError(thrown)
      // logged and answered where every broken thing is
      if (error.code === 'internal') throw error
      sendRefusal(
        request,
        reply,
        error.code === 'unsupported_media_type'
          ? new FleetError('unsupported_media_type', 'send application/pkcs10')
          : error,
      )
    })
    est.addHook('onRequest', (request, _reply, next) => {
      try {
        const { label } = request.params as { readonly label?: string }
        request.labelled = groupOfLabel(deps.registry.groups(), label)
        next()
      } catch (error) {
        next(error as Error)
      }
    })

    for (const path of PATHS) {
      est.get(
        `${path}/cacerts`,
        { schema: { summary: 'EST: the CAs of devices and of servers', security: [] } },
        async (request, reply) => {
          const peer = peerOf(request)
          for (const kind of ['chain', 'server'] as const)
            await trust.fetched(peer, kind, trust.current(kind).version)
          sendCertificates(request, reply, CERTS, trusted(trust))
        },
      )

      // §4.5: subject and names come from the CA; what is asked for is a kind of key, where a group does not take all
      est.get(
        `${path}/csrattrs`,
        { schema: { summary: 'EST: what kind of key a CSR should have', security: [] } },
        (request, reply) => {
          const rules = rulesFor(deps, request)
          const der = rules === undefined ? undefined : csrAttributes(rules.keyKinds)
          if (der === undefined) sendNothing(reply)
          else sendDer(request, reply, CSR_ATTRIBUTES, der)
        },
      )

      est.post(
        `${path}/simpleenroll`,
        {
          schema: {
            summary: 'EST: a certificate by claim token (HTTP Basic) or bootstrap certificate',
            security: [{ basic: [] }, { certificate: [] }, {}],
          },
          onRequest: async (request) => {
            const { claim, group } = await authenticateEstAsker(deps, request, request.labelled)
            request.claim = claim
            request.enrolsIn = group
            if (claim !== undefined) request.logged['claim'] = claim.id
          },
        },
        async (request, reply) => {
          const answer = await enrollDevice(deps, request.claim, {
            csr: csrFrom(request.body),
            deviceId: basicOf(request.headers.authorization)?.user,
            group: request.enrolsIn,
            peer: peerOf(request),
            address: addressOf(request),
            requestId: request.id,
          })
          sendAnswer(request, reply, answer)
        },
      )

      est.post(
        `${path}/simplereenroll`,
        {
          schema: {
            summary: 'EST: the next certificate, by the current one',
            security: [{ certificate: [] }],
          },
          onRequest: (request, _reply, next) => {
            try {
              request.renewer = acceptRenewer(deps, peerOf(request))
              checkLabel(request.labelled, request.renewer.group)
              next()
            } catch (error) {
              next(error as Error)
            }
          },
        },
        async (request, reply) => {
          if (request.renewer === undefined)
            throw new FleetError('certificate_required', 'present a certificate')
          const csr = await acceptCsrInTurn(csrFrom(request.body))
          checkSameNames(csr, request.renewer.leaf)
          sendAnswer(request, reply, await renewFor(deps, request.renewer, { csr }))
        },
      )

      for (const [operation, why] of Object.entries(NOT_OFFERED))
        est.post(
          `${path}/${operation}`,
          {
            schema: { summary: `EST: ${operation} is not offered`, security: [] },
            // before the body, which nobody reads
            onRequest: (request, reply) => {
              sendNotOffered(request, reply, why)
            },
          },
          () => undefined,
        )
    }
    done()
  })
}
