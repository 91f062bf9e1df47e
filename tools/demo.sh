#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job, shown on a virtual card in the stock pcscd: read a practitioner's identity, sign a file, have OpenSSL verify it.
set -eu
cd "$(dirname "$0")/.."
bin="$PWD/.venv/bin"
if [ -z "${CPX_SIM_PKI:-}" ]; then
  exec "$bin/cpx-sim" lab --card cps-medecin -- "$PWD/tools/demo.sh"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf '\n$ %s\n' "$*"; }
printf 'Ordonnance : paracétamol 1 g, 3 fois par jour, 5 jours.\n' > "$work/ordonnance.txt"
say cpxd readers
"$bin/cpxd" readers
say "cpxd card --pin-fd 3 3<<<1234    # code porteur de la carte de test"
"$bin/cpxd" card --pin-fd 3 3<<<1234
say "cpxd sign ordonnance.txt --pin-fd 3 3<<<1234"
(cd "$work" && "$bin/cpxd" sign ordonnance.txt --pin-fd 3 3<<<1234)
say "openssl cms -verify -binary -inform DER -in ordonnance.txt.p7s -content ordonnance.txt -CAfile ca.pem"
openssl cms -verify -binary -inform DER -in "$work/ordonnance.txt.p7s" -content "$work/ordonnance.txt" \
  -CAfile "$CPX_SIM_PKI/ca.pem" -out "$work/verified" 2>&1
cmp "$work/ordonnance.txt" "$work/verified"
say cpxd pin status
"$bin/cpxd" pin status
