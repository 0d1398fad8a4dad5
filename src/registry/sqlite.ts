/** The registry on SQLite: the room's door for the desks. Nothing outside the room imports what is behind it. */

export { becomeOnlyDesk } from './sqlite/only-desk.ts'
export { openRegistry } from './sqlite/open.ts'
export { openRegistryReader } from './sqlite/open-reader.ts'
export { openSignedRecords } from './sqlite/open-signed.ts'
