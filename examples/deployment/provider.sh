#!/usr/bin/env bash
# The provider's machine: compile once, publish, serve. Weights and the server's folder never leave it.
set -euo pipefail
cd "$(dirname "$0")"
: "${FILES:?folder with weights.safetensors, examples.npy, labels.txt, pictures.args (digits.py makes one)}"
: "${HOME_OF_SERVER:?folder for the program and the ledger}"
: "${PUBLIC:?folder to publish; copy it to client and dealer}"
: "${CERTIFICATES:?folder with server.pem and ca.pem}"
: "${LISTEN:=0.0.0.0:7001}" "${DEALER:?HOST:PORT of the dealer}" "${MODEL:=resnet_cifar(8, 10, 1)}"
AUTOREP=(python -m autorep_fx)

if [ ! -e "$HOME_OF_SERVER/program/public.json" ]; then
    read -r -a pictures < "$FILES/pictures.args"
    "${AUTOREP[@]}" compile "$MODEL" --weights "$FILES/weights.safetensors" --examples "$FILES/examples.npy" \
        --labels "$FILES/labels.txt" "${pictures[@]}" --out "$HOME_OF_SERVER/program"
fi
"${AUTOREP[@]}" publish "$HOME_OF_SERVER/program" --out "$PUBLIC"
exec "${AUTOREP[@]}" serve --program "$HOME_OF_SERVER/program" --state "$HOME_OF_SERVER" --listen "$LISTEN" \
    --dealer "$DEALER" --cert "$CERTIFICATES/server.pem" --ca "$CERTIFICATES/ca.pem"
