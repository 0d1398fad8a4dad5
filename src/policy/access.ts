/** Who may go where, compiled: the face of access/ to other rooms and to admission.ts. */

export { claimsOf, compileAccess, findHttps, findMqtt, type Access } from './access/compile.ts'
export { contestsOf, type Contest } from './access/contests.ts'
export type { PolicyExplanation } from './access/explain.ts'
export { readHostPattern } from './access/hosts.ts'
export { readPathPattern } from './access/paths.ts'
