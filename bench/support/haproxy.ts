/** haproxy on core 0 with the server certificate of a home, its log in a file. What it does with a connection: the text that it is given. */

import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SERVER_CORE } from './desk.ts'
import { startPinned, type Pinned } from './pinned.ts'

/** @param o.bind of its listener, behind certificate and CA. @param o.text what comes behind `global`, of that listener's line */
export const startHaproxy = (
  home: string,
  o: { readonly port: number; readonly bind?: string; readonly text: (bind: string) => string },
): Pinned => {
  const read = (name: string): string => readFileSync(join(home, 'certs', name), 'utf8')
  writeFileSync(join(home, 'haproxy.pem'), read('server.pem') + read('private/server.key'), { mode: 0o600 })
  const file = join(home, 'haproxy.cfg')
  const bind = `bind 127.0.0.1:${o.port} ssl crt ${home}/haproxy.pem ca-file ${home}/certs/chain.pem verify required no-tls-tickets ssl-min-ver TLSv1.2 ${o.bind ?? ''}`
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 9000
  tune.ssl.cachesize 0
  log stderr format raw local0
  ssl-default-bind-curves X25519
${o.text(bind)}`,
  )
  // the log is part of the work; its reader is not
  const log = openSync(join(home, 'haproxy.log'), 'w')
  return startPinned(SERVER_CORE, ['haproxy', '-db', '-f', file], { stdio: ['ignore', 'ignore', log] })
}
