#!/usr/bin/env bash
# The dealer's machine: a third owner, who talks to neither of the others. It needs the public part and a certificate.
set -euo pipefail
: "${PUBLIC:?folder that the provider has published}"
: "${HOME_OF_DEALER:?folder for the ledger}"
: "${CERTIFICATES:?folder with dealer.pem and ca.pem}"
: "${LISTEN:=0.0.0.0:7002}"

exec python -m autorep_fx deal --program "$PUBLIC" --state "$HOME_OF_DEALER" --listen "$LISTEN" \
    --cert "$CERTIFICATES/dealer.pem" --ca "$CERTIFICATES/ca.pem"
