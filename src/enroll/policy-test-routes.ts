/** `POST /v1/policy-test`. Nothing is made or changed by it; it is for operators because its answer says who may go where. */

import { PolicyTest, PolicyTested } from '#wire/policy-test.ts'
import type { App } from './http-app.ts'
import { testPolicy, type PolicyTestDeps } from './policy-test.ts'

export const policyTestRoutes = (app: App, deps: PolicyTestDeps): void => {
  app.post(
    '/v1/policy-test',
    {
      config: { role: 'operator' },
      schema: {
        summary: 'Who would be let in, by which policy, and why not by the others',
        body: PolicyTest,
        response: { 200: PolicyTested },
      },
    },
    ({ body }) => testPolicy(deps, body),
  )
}
