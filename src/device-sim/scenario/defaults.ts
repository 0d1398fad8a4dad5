/** The scenario that is run when nobody names one: what the schema's defaults say, and nothing else. calm.yaml spells it out for people. */

import { complain } from './complaint.ts'
import { resolve } from './resolve.ts'
import type { Scenario } from './scenario.ts'

/** Also of calm.yaml; a test holds them together. */
const SUMMARY = 'Every device enrols, then makes a request or publishes a message every few seconds.'

export const calm = (): Scenario => resolve('calm', { api_version: 1, summary: SUMMARY }, complain)
