#!/bin/sh
# The ceremony and the hand-out of docker-compose.yml's service `pki`. Runs as root, without network, each time; does nothing twice.
#   home: SALLYPORT_HOME (certs/ below it keeps everything, the root's key too); out: $OUT/enroll, $OUT/gateway
set -eu

node=${NODE:-node}
here=$(cd "$(dirname "$0")/../.." && pwd)
certs=$SALLYPORT_HOME/certs
out=${OUT:-/out}

if [ ! -e "$certs/root.pem" ]; then
  "$node" "$here/src/cli/main.ts" ca init --server-name localhost --server-name enroll --server-name gateway
fi

# hand FOLDER UID FILE…: 0600 below private/, and nobody else's
hand() {
  to=$out/$1 uid=$2
  shift 2
  install -d -o "$uid" -g 10000 -m 0750 "$to"
  install -d -o "$uid" -g 10000 -m 0700 "$to/private"
  for file in "$@"; do
    case $file in private/*) mode=0600 ;; *) mode=0644 ;; esac
    install -o "$uid" -g 10000 -m "$mode" "$certs/$file" "$to/$file"
  done
}

hand enroll 10001 root.pem intermediate.pem chain.pem server.pem private/intermediate.key private/server.key private/registry.key
hand gateway 10002 root.pem server.pem private/server.key private/registry.key
