/**
 * An nginx as nobody should set it up behind anything but this door: it takes `_` in a field's name for `-`, drops no name that is none, and
 * believes all it hears. What it heard by each name is its answer. Not the example origin, which does neither: examples/origin-nginx.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { vi } from 'vitest'
import { foreignProcess } from '../../../support/foreign-process.ts'
import { freePort } from '../../../support/free-port.ts'
import { program } from '../../../support/programs.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import { folded } from './header-corpus.ts'

export const NGINX = program('nginx')

export type TrustingNginx = AsyncDisposable & {
  readonly url: string
  /** Of its answer: what it heard, by folded name. */
  heard(body: string): ReadonlyMap<string, string>
}

const conf = (port: number, at: string, names: readonly string[]): string => `
${process.getuid?.() === 0 ? 'user root; ' : ''}daemon off; master_process off; pid ${at}/nginx.pid; error_log ${at}/error.log;
events { worker_connections 256; }
http {
  access_log off; default_type text/plain; large_client_header_buffers 8 32k;
  client_body_temp_path ${at}/b; proxy_temp_path ${at}/p; fastcgi_temp_path ${at}/f; uwsgi_temp_path ${at}/u; scgi_temp_path ${at}/s;
  underscores_in_headers on;
  ignore_invalid_headers off;
  server {
    listen 127.0.0.1:${port};
    location / { return 200 "${names.map((name) => `$http_${folded(name).toLowerCase()}`).join('\\n')}"; }
  }
}
`

/** @returns undefined: there is no nginx here */
export const openTrustingNginx = async (names: readonly string[]): Promise<TrustingNginx | undefined> => {
  if (NGINX === undefined) return undefined
  await using scope = new AsyncDisposableStack()
  const folder = scope.use(temporaryFolder())
  const port = await freePort()
  const file = join(folder.path, 'nginx.conf')
  writeFileSync(file, conf(port, folder.path, names))
  const child = scope.use(foreignProcess(NGINX, ['-p', folder.path, '-c', file]))
  child.start()
  const url = `http://127.0.0.1:${port}`
  await vi.waitFor(async () => void (await fetch(url)), { timeout: 5_000, interval: 20 })
  const owned = scope.move()
  return {
    url,
    heard(body) {
      const values = body.split('\n')
      if (values.length !== names.length)
        throw new Error(`not an answer of this nginx: ${body.slice(0, 200)}`)
      return new Map(
        names.flatMap((name, at) => (values[at] === '' ? [] : [[folded(name), values[at] ?? '']])),
      )
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
