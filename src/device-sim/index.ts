/**
 * The device's side of Sallyport: enrolling, renewing, asking, publishing, and whole fleets and drills of it. It knows only the
 * contract, and imports nothing of the servers.
 */

export type { Enrolled, Identity, Targets } from './identity.ts'
export { newKey } from './key.ts'
export { adviceFor, confirmDevice, enrollDevice, renewDevice } from './enroll-device.ts'
export { refreshTrust } from './trust.ts'
export { clientContext } from './connection.ts'
export { httpsOnce } from './https-once.ts'
export { mqttConnect } from './mqtt-connect.ts'
export { runFleet } from './run.ts'
export type { FleetEvent, FleetReport } from './events.ts'
export { SCENARIOS, type ScenarioName } from './scenarios.ts'
export { createMeter } from './meter.ts'
export { createOperator } from './operator.ts'
export { createExpectations } from './drills/expectations.ts'
export { createLedger } from './drills/ledger.ts'
export { createStage, type Sighting } from './drills/stage.ts'
export { runDrills } from './drills/drill.ts'
export { DRILLS } from './drills/table.ts'
