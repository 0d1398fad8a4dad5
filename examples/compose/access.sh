#!/bin/sh
# docker-compose.yml's service `access`: an operator token, the example's anchor, policy and application, and a claim token for the
# simulator. Runs as the enroll desk's user, on its loopback. Applying twice changes nothing; an old claim token is replaced.
set -eu

node=${NODE:-node}
here=$(cd "$(dirname "$0")/../.." && pwd)
certs=$SALLYPORT_HOME/certs
claim=$SALLYPORT_HOME/claim

sallyport() { "$node" "$here/src/cli/main.ts" "$@"; }

if [ ! -e "$certs/private/operator.token" ]; then
  sallyport operator token create --offline --save --name compose >/dev/null
fi

fleet=$(mktemp)
trap 'rm -f "$fleet"' EXIT
cat >"$fleet" <<YAML
anchors:
  - name: devices
    hostnames: [localhost, gateway]
    pem: |
$(sed 's/^/      /' "$certs/chain.pem")
policies:
  - name: devices
    decision: non_identity
    include: [{ certificate: {} }]
applications:
  - name: example
    hostnames: [localhost, gateway]
    https: { path: /*, origin: 'http://127.0.0.1:8000' }
    mqtt: {}
    policies: [devices]
YAML
sallyport apply -f "$fleet"

umask 022
# what the origin tells its own assertions by
sallyport app show example --json | "$node" -p 'JSON.parse(require("node:fs").readFileSync(0, "utf8")).id' >"$claim/example.audience"
cp "$certs/root.pem" "$claim/root.pem"
# a visitor reads it, so it is no secret of this machine: it names new devices only, a few of them, for a day
sallyport token create --quiet --uses 25 --expires 24h >"$claim/token"
