/** What a simulation is given. Not what comes of it: #wire/simulation-report.ts. */

import type { Enrolled, Targets } from '../client/identity.ts'
import type { Live } from '../report/live.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { Credentials } from './messages.ts'
import type { Server } from './servers.ts'

export type OperatorAccess = {
  readonly url: string
  readonly token: string
  /** for https; plain http is for loopback only, which the caller sees to */
  readonly rootPem: string | undefined
}

export type SimulationOptions = {
  readonly scenario: Scenario
  /** `[a-z0-9]{1,32}`; undefined: the state's, or a random one */
  readonly seed: string | undefined
  readonly targets: Partial<Targets>
  /** undefined: asked for, and held to the pin of the token; or as the kept or given devices have it */
  readonly rootPem: string | undefined
  readonly credentials: Credentials
  /** undefined: nothing is made for the run, and nothing is done to its devices */
  readonly operator: OperatorAccess | undefined
  /** as many devices as the scenario has, or more; nobody enrols then */
  readonly given: readonly Enrolled[] | undefined
  /** a target that is not a Sallyport: of the invariants, only those of any broker are judged */
  readonly foreign: boolean
  readonly stateDir: string | undefined
  /** turns of each device; undefined: until the scenario's end */
  readonly rounds: number | undefined
  /** processes; 0: this one */
  readonly workers: number
  /** of a request; `{id}` is the device */
  readonly path: string | undefined
  /** of a request; undefined: POST, and a GET has no body */
  readonly method: 'GET' | 'POST' | undefined
  /** of a message; `{id}` is the device */
  readonly topic: string | undefined
  /** those of this machine that are under test, as they are now; asked about once a second */
  readonly servers: () => readonly Server[]
  /** repeats the run, with the seed that it had */
  readonly command: (seed: string) => string
  /** Ctrl-C: no new turns, what is under way has two seconds, and the report says that it was interrupted */
  readonly signal: AbortSignal
  /** about once a second */
  readonly onLive?: ((live: Live) => void) | undefined
  /** what a person who watches should know, a sentence */
  readonly onNote?: ((text: string) => void) | undefined
}
