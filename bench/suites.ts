/** What `npm run bench` can measure, in the order in which it does. A suite is loaded when it is asked for. */

import type { Suite } from './support/suite.ts'

export const SUITES: Readonly<Record<string, () => Promise<{ readonly suite: Suite }>>> = {
  https: () => import('./https-door.ts'),
  'https-session': () => import('./https-session.ts'),
  idle: () => import('./idle.ts'),
  'slow-peers': () => import('./slow-peers.ts'),
  mqtt: () => import('./mqtt.ts'),
  'mqtt-connect': () => import('./mqtt-connect.ts'),
  'mqtt-idle': () => import('./mqtt-idle.ts'),
  'mqtt-cut': () => import('./mqtt-cut.ts'),
  enrol: () => import('./enroll.ts'),
  signer: () => import('./signer.ts'),
  ocsp: () => import('./ocsp.ts'),
  crl: () => import('./crl.ts'),
  registry: () => import('./registry.ts'),
  policy: () => import('./policy.ts'),
  sim: () => import('./sim.ts'),
}
