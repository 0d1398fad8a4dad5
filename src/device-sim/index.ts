/**
 * The device's side of Sallyport: enrolling, renewing, asking, publishing, and whole fleets and drills of it. It knows only the
 * contract, and imports nothing of the servers.
 */

export type { Enrolled, Identity, Targets } from './client/identity.ts'
export { newKey } from './client/key.ts'
export { adviceFor, confirmDevice, enrollDevice, renewDevice } from './client/enroll-device.ts'
export { refreshTrust } from './client/trust.ts'
export { clientContext, portOf, PUBLIC_ROOTS } from './client/connection.ts'
export { httpsOnce } from './client/https-once.ts'
export { mqttConnect } from './client/mqtt-connect.ts'
export { leastPayload } from './load/payload.ts'
export { makeStateDirectory } from './life/state.ts'
export { runFleet, type FleetOptions } from './life/run.ts'
export type { FleetReport } from './life/tally.ts'
export type { FleetEvent } from './events.ts'
export { loadScenario, scenarioNames, scenarioText } from './scenario/load.ts'
export { readWhole } from './scenario/read.ts'
export { calm } from './scenario/defaults.ts'
export { withoutContradicted } from './scenario/contradicted.ts'
export { override, parseWeights } from './scenario/override.ts'
export type { Scenario } from './scenario/scenario.ts'
export { createMeter } from './client/meter.ts'
export { createOperator } from './client/operator.ts'
export { createExpectations } from './drills/expectations.ts'
export { createLedger } from './drills/ledger.ts'
export { createStage, type Sighting } from './drills/stage.ts'
export { runDrills } from './drills/drill.ts'
export { DRILLS } from './drills/table.ts'
export { simulate } from './coordinator/simulate.ts'
export type { SimulationOptions } from './coordinator/options.ts'
export { workersFor } from './coordinator/workers.ts'
export type { Live, Phase } from './report/live.ts'
export { csvReport } from './report/csv.ts'
export { junitReport } from './report/junit.ts'
export { openPrometheus } from './report/prometheus.ts'
export { htmlReport } from './report/html/html-report.ts'
export { summaryLines } from './report/summary.ts'
export { totalOfDoors, type CountsByDoor } from './measure/counts.ts'
export { inOrder, latencyOf, medianText } from './report/measures.ts'
export {
  byFrequency,
  formatClock,
  formatCount,
  formatMillis,
  formatPercent,
  formatShort,
} from './report/format.ts'
export { printable } from './plain-text.ts'
