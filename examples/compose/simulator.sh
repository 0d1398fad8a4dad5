#!/bin/sh
# docker-compose.yml's service `simulator`: 25 devices that know what any stranger is given: URLs, the root and a claim token.
set -eu

home=$SALLYPORT_HOME
exec "${NODE:-node}" "$(cd "$(dirname "$0")/../.." && pwd)/src/cli/main.ts" sim run calm --devices 25 --state "$home/state" \
  --token "$(cat "$home/claim/token")" --ca "$home/claim/root.pem" \
  --enroll-url "${ENROLL_URL:-https://enroll:8443}" --https-url "${HTTPS_URL:-https://gateway:9443}" \
  --mqtts-url "${MQTTS_URL:-mqtts://gateway:8883}"
