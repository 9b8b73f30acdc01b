#!/usr/bin/env bash
# A client's machine: ask about pictures or arrays. client.sh INPUT...
set -euo pipefail
: "${PUBLIC:?folder that the provider has published}"
: "${HOME_OF_CLIENT:?folder for the ledger and the cache}"
: "${CERTIFICATES:?folder with NAME.pem and ca.pem}" "${NAME:=alice}"
: "${SERVER:?HOST:PORT of the server}" "${DEALER:?HOST:PORT of the dealer}"

exec python -m autorep_fx ask --program "$PUBLIC" --state "$HOME_OF_CLIENT" --cache "$HOME_OF_CLIENT/cache" \
    --server "$SERVER" --dealer "$DEALER" --cert "$CERTIFICATES/$NAME.pem" --ca "$CERTIFICATES/ca.pem" "$@"
