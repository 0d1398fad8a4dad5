/**
 * The API of administrators: its own listener, plain HTTP on loopback only (#runtime/listen.ts holds that). Every route declares the
 * role it needs, and one that does not is refused at start. Not what the routes do: those are the files beside it.
 */

import type { FastifyRequest } from 'fastify'
import type { OperatorToken, Role } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import { authenticateOperator, bearerOf } from './credentials.ts'
import { addressOf, type App } from './http-app.ts'
import { bulkRoutes } from './bulk-routes.ts'
import { createOnce } from './idempotency.ts'
import { issuerRoutes } from './issuer-routes.ts'
import { anchorCrlRoutes } from './anchor-crl-routes.ts'
import type { OperatorApiDeps } from './operator-deps.ts'
import { describeApi } from './openapi.ts'
import { accessRoutes } from './operator-access-routes.ts'
import { deviceRoutes } from './operator-device-routes.ts'
import { policyTestRoutes } from './policy-test-routes.ts'
import { requestRoutes } from './request-routes.ts'
import { revocationRoutes, type RevocationDeps } from './revocation-routes.ts'
import { tokenRoutes } from './operator-token-routes.ts'
import { serviceTokenRoutes } from './service-token-routes.ts'
import { sessionRoutes } from './session-routes.ts'
import { createSerially } from './serially.ts'
import { trustAnchorRoutes } from './trust-anchor-routes.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `anyone`: no credential, nothing of the fleet in the answer */
    role?: Role | 'anyone'
    /** a POST that makes something: an Idempotency-Key is honoured */
    creates?: boolean
  }
  interface FastifyRequest {
    operator: OperatorToken | undefined
  }
}

/** For `after` and `limit` in a query, which are text there. Only digits become a number; the schema refuses the rest. */
const numberLimit = (query: unknown): void => {
  const { limit } = (query ?? {}) as { limit?: unknown }
  if (typeof limit === 'string' && /^\d{1,6}$/.test(limit))
    (query as { limit: unknown }).limit = Number(limit)
}

export const registerOperatorApi = async (
  app: App,
  deps: OperatorApiDeps & RevocationDeps,
): Promise<void> => {
  app.decorateRequest('operator')

  app.addHook('onRoute', ({ config, method, url }) => {
    if (config?.role === undefined)
      throw new FleetError('internal', `${String(method)} ${url} declares no role`)
  })

  const authenticate = async (request: FastifyRequest): Promise<void> => {
    const { role } = request.routeOptions.config
    // Of an unknown path there is nothing to protect, and 404 is said without a credential.
    if (role === undefined || role === 'anyone') return
    const text = bearerOf(request.headers.authorization)
    request.operator = await authenticateOperator(deps, text, addressOf(request), role)
    request.logged['operator'] = request.operator.id
  }
  // Before the body, so that nobody without a token is read; and after it, since it may take its time and the token end meanwhile.
  app.addHook('onRequest', authenticate)
  app.addHook('preHandler', authenticate)
  app.addHook('preValidation', (request, _reply, done) => {
    numberLimit(request.query)
    done()
  })

  await describeApi(app, { title: 'Sallyport operator API', schemes: ['operator'] })
  const once = createOnce(deps)
  tokenRoutes(app, { ...deps, once })
  deviceRoutes(app, deps)
  bulkRoutes(app, deps)
  requestRoutes(app, deps)
  revocationRoutes(app, deps)
  accessRoutes(app, { ...deps, serially: createSerially() })
  policyTestRoutes(app, deps)
  issuerRoutes(app, deps)
  trustAnchorRoutes(app, { ...deps, once })
  serviceTokenRoutes(app, { ...deps, once })
  sessionRoutes(app, { ...deps, once })
  anchorCrlRoutes(app, deps)
}
