#!/bin/sh
# Hands the ceremony's files (certs/ of `sallyport ca init`, given as the first argument) to the users of the units, as root. The keys of
# the root and of the services CA stay where they are: keep them offline. The checkout is in /opt/sallyport, owned by root, after `npm ci`.
set -eu

certs=$1
here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

install -D -m 0644 "$here/sallyport.sysusers.conf" "$root/usr/lib/sysusers.d/sallyport.conf"
[ -n "$root" ] || systemd-sysusers sallyport.conf

install -d -m 0755 "$root/etc/sallyport" "$root/etc/sallyport/issuers"
for file in root.pem intermediate.pem services.pem server.pem gateway.pem; do install -m 0644 "$certs/$file" "$root/etc/sallyport/$file"; done
[ -e "$root/etc/sallyport/sallyport.yaml" ] || install -m 0644 "$here/sallyport.yaml" "$root/etc/sallyport/sallyport.yaml"

# keys USER FILE…: a folder that only that user may enter
keys() {
  user=$1
  shift
  folder=$root/etc/sallyport/${user#sallyport-}
  install -d -m 0700 "$folder"
  for file in "$@"; do install -m 0600 "$certs/private/$file" "$folder/$file"; done
  [ -n "$root" ] || chown -R "$user:" "$folder"
}
keys sallyport-signer intermediate.key
keys sallyport-enroll server.key registry.key
keys sallyport-gateway server.key gateway.key registry.key

install -D -m 0644 -t "$root/etc/systemd/system" "$here"/sallyport-*.service
[ -n "$root" ] || systemctl daemon-reload
echo 'now: set enroll.status_url in /etc/sallyport/sallyport.yaml, then systemctl enable --now sallyport-signer sallyport-enroll sallyport-gateway'
