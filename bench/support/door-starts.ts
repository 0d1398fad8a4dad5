/** How each door of the HTTPS suites is started: on core 0, each doing as much of the same as it can. Not what is measured of them: doors.ts. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SERVER_CORE } from './desk.ts'
import { startHaproxy } from './haproxy.ts'
import { HOST, startGateway } from './home.ts'
import { startPinned, type Pinned } from './pinned.ts'

export type DoorName = 'sallyport' | 'nginx' | 'haproxy'

export type Given = {
  readonly home: string
  readonly origin: string
  /** ms; 0: No Duration, one request per connection at every door */
  readonly session: number
  /** s that a connection may be without a request */
  readonly patience: number
}

const nginxConfig = ({ home, origin, session, patience }: Given, port: number): string => `
daemon off; worker_processes 1; pid ${home}/nginx.pid; error_log ${home}/nginx-error.log;
events { worker_connections 20000; }
http {
  access_log ${home}/nginx-access.log;
  client_body_temp_path ${home}/t1; proxy_temp_path ${home}/t2; fastcgi_temp_path ${home}/t3;
  uwsgi_temp_path ${home}/t4; scgi_temp_path ${home}/t5;
  upstream origin { server ${new URL(origin).host}; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port} ssl; server_name ${HOST};
    ssl_certificate ${home}/certs/server.pem; ssl_certificate_key ${home}/certs/private/server.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519; ssl_session_tickets off; ssl_session_cache off;
    ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate ${home}/certs/chain.pem;
    client_header_timeout ${patience}s; keepalive_timeout ${session > 0 ? '60s' : '0'}; keepalive_requests 1000000000;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header Cf-Client-Cert-Sha256 $ssl_client_fingerprint; proxy_set_header Client-Cert $ssl_client_escaped_cert;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }
  }
}
`

const startNginx = async (given: Given, port: number): Promise<Pinned> => {
  const file = join(given.home, 'nginx.conf')
  writeFileSync(file, nginxConfig(given, port))
  return startPinned(SERVER_CORE, ['nginx', '-c', file, '-p', given.home])
}

const startHaproxyOf = async ({ home, origin, session }: Given, port: number): Promise<Pinned> =>
  startHaproxy(home, {
    port,
    bind: 'alpn http/1.1',
    text: (bind) => `defaults
  mode http
  log global
  option httplog
  option ${session > 0 ? 'http-keep-alive' : 'httpclose'}
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend door
  ${bind}
  http-request set-header Cf-Client-Cert-Sha256 %[ssl_c_der,sha2(256),hex]
  http-request set-header Client-Cert :%[ssl_c_der,base64]:
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  default_backend origin
backend origin
  http-reuse always
  server origin ${new URL(origin).host}
`,
  })

const startOurs = async ({ home, patience }: Given, port: number): Promise<Pinned> =>
  (
    await startGateway(home, {
      SALLYPORT_GATEWAY_HTTPS_LISTEN: `127.0.0.1:${port}`,
      SALLYPORT_LIMITS_HEADER_TIMEOUT: `${patience}s`,
    })
  ).program

export const STARTS: Readonly<Record<DoorName, (given: Given, port: number) => Promise<Pinned>>> = {
  sallyport: startOurs,
  nginx: startNginx,
  haproxy: startHaproxyOf,
}
