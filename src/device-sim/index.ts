/**
 * The device's side of Sallyport: enrolling, renewing, asking, publishing, and whole fleets and drills of it. It knows only the
 * contract, and imports nothing of the servers.
 */

export type { Enrolled, Identity, Targets } from './client/identity.ts'
export { newKey } from './client/key.ts'
export { adviceFor, confirmDevice, enrollDevice, renewDevice } from './client/enroll-device.ts'
export { refreshTrust } from './client/trust.ts'
export { clientContext } from './client/connection.ts'
export { httpsOnce } from './client/https-once.ts'
export { mqttConnect } from './client/mqtt-connect.ts'
export { runFleet } from './life/run.ts'
export type { FleetEvent, FleetReport } from './events.ts'
export { SCENARIOS, type ScenarioName } from './scenario/scenarios.ts'
export { createMeter } from './client/meter.ts'
export { createOperator } from './client/operator.ts'
export { createExpectations } from './drills/expectations.ts'
export { createLedger } from './drills/ledger.ts'
export { createStage, type Sighting } from './drills/stage.ts'
export { runDrills } from './drills/drill.ts'
export { DRILLS } from './drills/table.ts'
