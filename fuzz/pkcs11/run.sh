#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes how the PKCS#11 module takes in a daemon's answers, under AddressSanitizer and UndefinedBehaviorSanitizer.
# A crash leaves its input in the current folder and makes the script fail.
#   fuzz/pkcs11/run.sh [seconds, default 60]
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
seconds=${1:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

clang -std=c11 -O1 -g -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Werror -pedantic \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I"$root/cpxd/pkcs11/module" "$root/fuzz/pkcs11/fuzz_reply.c" "$root"/cpxd/pkcs11/module/*.c -o "$work/reply"
mkdir "$work/corpus"
status=0
"$work/reply" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    "$work/corpus" "$root/fuzz/pkcs11/seeds" >"$work/log" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
    cat "$work/log"
    echo "fuzz pkcs11 reply: FAILED" >&2
    exit 1
fi
echo "fuzz pkcs11 reply: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log") executions in $seconds s, no finding"
