#!/bin/sh
# The ceremony and the hand-out of docker-compose.yml's service `pki`. Runs as root, without network, each time; does nothing twice.
#   home: SALLYPORT_HOME (certs/ below it keeps everything, the root's key too); out: $OUT/signer, $OUT/enroll, $OUT/gateway
set -eu

node=${NODE:-node}
here=$(cd "$(dirname "$0")/../.." && pwd)
certs=$SALLYPORT_HOME/certs
out=${OUT:-/out}

if [ ! -e "$certs/root.pem" ]; then
  "$node" "$here/src/cli/main.ts" ca init --server-name localhost --server-name enroll --server-name gateway
fi

# hand FOLDER UID GID FILE…: 0600 below private/, and nobody else's
hand() {
  to=$out/$1 uid=$2 gid=$3
  shift 3
  install -d -o "$uid" -g "$gid" -m 0750 "$to"
  install -d -o "$uid" -g "$gid" -m 0700 "$to/private"
  for file in "$@"; do
    case $file in private/*) mode=0600 ;; *) mode=0644 ;; esac
    install -o "$uid" -g "$gid" -m "$mode" "$certs/$file" "$to/$file"
  done
}

hand signer 10004 10004 root.pem intermediate.pem private/intermediate.key
hand enroll 10001 10000 root.pem intermediate.pem chain.pem server.pem private/server.key private/registry.key
hand gateway 10002 10000 root.pem server.pem private/server.key private/registry.key

# enrolment over MQTT: the gateway's own certificate, and to enroll the CA that it is of. A PKI of before there was such has none.
if [ -e "$certs/gateway.pem" ]; then
  hand enroll 10001 10000 services.pem
  hand gateway 10002 10000 gateway.pem private/gateway.key
fi

# of a volume from before there was a signer
rm -f "$out/enroll/private/intermediate.key"

# further intermediates (`sallyport ca rotate prepare`): their keys to the signer, to the desk what everybody may see
for pem in "$certs"/issuers/*.pem; do
  [ -e "$pem" ] || continue
  key=${pem%.pem}.key
  install -d -o 10004 -g 10004 -m 0750 "$out/signer/issuers"
  install -d -o 10001 -g 10000 -m 0750 "$out/enroll/issuers"
  install -o 10001 -g 10000 -m 0644 "$pem" "$out/enroll/issuers/"
  # the key first: what the signer finds, it wants to use
  install -o 10004 -g 10004 -m 0600 "$key" "$out/signer/issuers/"
  install -o 10004 -g 10004 -m 0644 "$pem" "$out/signer/issuers/"
done
