/** The embedded broker's file: the room's third door, for the gateway. Not the registry, and nothing of the CA's is in it. */

export { openBrokerStore } from './broker-store/open.ts'
export type { Batch, BatchVerb, BrokerStore, StoredBroker } from './broker-store/store.ts'
