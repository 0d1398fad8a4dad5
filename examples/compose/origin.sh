#!/bin/sh
# docker-compose.yml's service `origin`: the example origin, behind the application whose id the service `access` has left for it.
set -eu

exec "${NODE:-node}" examples/origin/main.ts --port 8000 \
  --jwks https://localhost:9443/cdn-cgi/access/certs --ca claim/root.pem \
  --audience "$(cat claim/example.audience)" --hostname localhost --hostname gateway
