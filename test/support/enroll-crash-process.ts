/**
 * The enrol desk with a landmine: kills itself (SIGKILL, nothing is flushed) at the named step of a certificate.
 *   CRASH_AT=<step> CRASH_ON=<which certificate, default 1> SALLYPORT_HOME=… node test/support/enroll-crash-process.ts
 * Not in src: the desk itself has no such switch.
 */

import { ServerResponse } from 'node:http'
import { openConfiguredIssuer } from '#enroll/issuing.ts'
import { openEnrollDesk } from '#enroll/service.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { runDesk } from '#runtime/run.ts'
import type { CrashStep } from './enroll-crash-steps.ts'

const at = process.env['CRASH_AT'] as CrashStep | undefined

let left = Number(process.env['CRASH_ON'] ?? 1)

const die = (step: CrashStep): void => {
  if (step !== at) return
  left -= 1
  if (left === 0) process.kill(process.pid, 'SIGKILL')
}

const end = ServerResponse.prototype.end
ServerResponse.prototype.end = function (this: ServerResponse, ...args: never[]) {
  if (this.statusCode === 201) die('before_reply')
  return Reflect.apply(end, this, args) as ServerResponse
} as typeof end

await runDesk('enroll', (config, scope) =>
  openEnrollDesk(config, scope, {
    openRegistry: async (o) => {
      const registry = await openRegistry(o)
      return {
        ...registry,
        reserve: async (reservation) => {
          die('before_reserve')
          const reserved = await registry.reserve(reservation)
          die('after_reserve')
          return reserved
        },
        recordCertificate: async (...args) => {
          const record = await registry.recordCertificate(...args)
          die('after_record')
          return record
        },
      }
    },
    openIssuer: async (o) => {
      const issuer = await openConfiguredIssuer(o)
      return {
        ...issuer,
        issueDevice: async (request) => {
          const der = await issuer.issueDevice(request)
          die('after_sign')
          return der
        },
      }
    },
  }),
)
