#!/bin/sh
# A device gets its certificate over MQTT with what Debian has: openssl and mosquitto_rr (mosquitto-clients). docs/mqtt-enrollment.md.
#   enroll.sh HOST PORT ROOT.pem CLAIM.pem CLAIM.key ID        the claim key: P-256 or RSA
# Leaves ID.key (which never leaves this machine) and ID.pem in the current directory. What is refused is not said here: no answer in 10 s.
set -eu
host=$1 port=$2 root=$3 cert=$4 key=$5 id=$6

umask 077
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$id.key"
openssl req -new -key "$id.key" -subj "/CN=$id" -out "$id.csr"

ask() {
  topic="\$sallyport/certificates/$1"
  shift
  mosquitto_rr -h "$host" -p "$port" --cafile "$root" --cert "$cert" --key "$key" -V mqttv311 -q 1 -W 10 \
    -t "$topic" -e "$topic/accepted" "$@"
}
# a text member of a flat JSON object
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

nonce=$(ask nonce -n | member nonce)

# what is signed: SHA-256(CSR in DER), then the nonce's octets
{
  openssl req -in "$id.csr" -outform DER | openssl dgst -sha256 -binary
  printf %s "$nonce" | tr '_-' '/+' | openssl base64 -d -A
} >"$id.proof"
signature=$(openssl dgst -sha256 -sign "$key" "$id.proof" | openssl base64 -A)

csr=$(awk '{ printf "%s\\n", $0 }' "$id.csr")
# -m: mosquitto_rr 2.0.11 sends nothing with -f or -s. None of it is secret.
ask create-from-csr -m "$(printf '{"csr":"%s","nonce":"%s","signature":"%s"}' "$csr" "$nonce" "$signature")" >"$id.answer"

printf '%b%b' "$(member certificate <"$id.answer")\n" "$(member chain <"$id.answer")" >"$id.pem"
rm "$id.csr" "$id.proof" "$id.answer"
