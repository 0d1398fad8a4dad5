/** Every word of `sallyport`, put together. Not what the words do: one file each, beside and in offline/. */

import type { Command } from 'commander'
import { VERSION } from '#runtime/run-file.ts'
import { command, group } from './command.ts'
import { accessCommands } from './commands/access.ts'
import { apply } from './commands/apply.ts'
import { certLs } from './commands/cert-ls.ts'
import { certRevoke } from './commands/cert-revoke.ts'
import { certShow } from './commands/cert-show.ts'
import { desks } from './commands/desks.ts'
import { deviceClearClone } from './commands/device-clear-clone.ts'
import { deviceExport } from './commands/device-export.ts'
import { deviceImport } from './commands/device-import.ts'
import { deviceEnroll } from './commands/device-enroll.ts'
import { deviceLs } from './commands/device-ls.ts'
import { deviceShow } from './commands/device-show.ts'
import { deviceState } from './commands/device-state.ts'
import { issuerLs } from './commands/issuer-ls.ts'
import { issuerRevoke } from './commands/issuer-revoke.ts'
import { issuerScan } from './commands/issuer-scan.ts'
import { issuerShow } from './commands/issuer-show.ts'
import { ISSUERS } from './commands/issuers.ts'
import { keyCommands } from './commands/key-block.ts'
import { operatorTokenCreate } from './commands/operator-token-create.ts'
import { operatorTokenLs } from './commands/operator-token-ls.ts'
import { operatorTokenRevoke } from './commands/operator-token-revoke.ts'
import { requestDecide } from './commands/request-decide.ts'
import { requestLs } from './commands/request-ls.ts'
import { requestShow } from './commands/request-show.ts'
import { serviceTokenCommands } from './commands/service-token.ts'
import { sessionCommands } from './commands/session-revoke.ts'
import { signingKeyCommands } from './commands/signing-key.ts'
import { simLs } from './commands/sim-ls.ts'
import { simRun } from './commands/sim-run.ts'
import { simSchema } from './commands/sim-schema.ts'
import { simShow } from './commands/sim-show.ts'
import { tokenCreate } from './commands/token-create.ts'
import { tokenLs } from './commands/token-ls.ts'
import { tokenRevoke } from './commands/token-revoke.ts'
import { TRUST_ANCHORS } from './commands/trust-anchors.ts'
import { trustLs } from './commands/trust-ls.ts'
import { trustPrepare } from './commands/trust-prepare.ts'
import { up } from './commands/up.ts'
import type { Io } from './io.ts'
import { caCrl } from './offline/ca-crl.ts'
import { caGateway } from './offline/ca-gateway.ts'
import { caInit } from './offline/ca-init.ts'
import { caRotatePrepare } from './offline/ca-rotate-prepare.ts'
import { caShow } from './offline/ca-show.ts'
import { rotateCommand } from './rotating.ts'

/** Settings of the parser are not inherited by commands that were made elsewhere. */
const everywhere = (parent: Command, set: (each: Command) => void): void => {
  set(parent)
  for (const each of parent.commands) everywhere(each, set)
}

/** @param json errors are documents, so no help is written for them */
export const program = (io: Io, json: boolean): Command => {
  const sallyport = command(
    'sallyport',
    'Every device its own certificate; every passage a fresh handshake.',
    'up',
  )
    .version(VERSION)
    .option('--json', 'one JSON document on stdout; errors as a problem document on stderr')
    .option('--config <file>', 'configuration (default: SALLYPORT_CONFIG, ./sallyport.yaml, or none)')
  const members = [
    up(io),
    ...desks(io),
    group('ca', 'the certificate authority, on its files', 'ca show', [
      caInit(io),
      caCrl(io),
      caGateway(io),
      caShow(io),
      group('rotate', 'from one issuing CA to the next, a step at a time', 'ca rotate prepare', [
        caRotatePrepare(io),
        ...(['distribute', 'activate', 'retire'] as const).map((verb) =>
          rotateCommand(io, verb, ISSUERS, '3f0c9a1e'),
        ),
      ]),
    ]),
    group('cert', 'certificates of devices, by serial', 'cert ls --state revoked', [
      certLs(io),
      certShow(io),
      certRevoke(io),
    ]),
    group('issuer', 'the CAs that certificates of devices come from', 'issuer ls', [
      issuerLs(io),
      issuerShow(io),
      issuerScan(io),
      issuerRevoke(io),
    ]),
    group('trust', 'the roots that devices verify servers with', 'trust ls', [
      trustLs(io),
      trustPrepare(io),
      ...(['distribute', 'activate', 'retire'] as const).map((verb) =>
        rotateCommand(io, verb, TRUST_ANCHORS, '9f86d081'),
      ),
    ]),
    group('token', 'claim tokens, with which devices enrol', 'token create --device pump-7', [
      tokenCreate(io),
      tokenLs(io),
      tokenRevoke(io),
    ]),
    group('device', 'devices', 'device ls', [
      deviceEnroll(io),
      deviceLs(io),
      deviceShow(io),
      deviceImport(io),
      deviceExport(io),
      ...(['suspend', 'resume', 'retire', 'revoke'] as const).map((verb) => deviceState(io, verb)),
      deviceClearClone(io),
    ]),
    keyCommands(io),
    group('request', 'enrolments that wait for an operator', 'request ls', [
      requestLs(io),
      requestShow(io),
      requestDecide(io, 'approve'),
      requestDecide(io, 'deny'),
    ]),
    apply(io),
    ...accessCommands(io),
    serviceTokenCommands(io),
    sessionCommands(io),
    signingKeyCommands(io),
    group('operator', 'operators', 'operator token ls', [
      group('token', 'operator tokens, with which operators call the API', 'operator token ls', [
        operatorTokenCreate(io),
        operatorTokenLs(io),
        operatorTokenRevoke(io),
      ]),
    ]),
    group('sim', 'the fleet simulator', 'sim run calm --devices 100 --for 30s', [
      simRun(io),
      simLs(io),
      simShow(io),
      simSchema(io),
    ]),
  ]
  for (const member of members) sallyport.addCommand(member)
  everywhere(sallyport, (each) =>
    each
      .exitOverride()
      .configureHelp({ showGlobalOptions: each !== sallyport })
      .helpCommand(false)
      .configureOutput({
        writeOut: (text) => io.out.write(text),
        // the help of a word that needs another one after it
        writeErr: (text) => (json ? undefined : io.err.write(text)),
        // said once, by main.ts
        outputError: () => {},
      }),
  )
  return sallyport
}
