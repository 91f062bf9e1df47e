#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the C core with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer, half of the time each target.
# Prints the number of executions; a crash leaves its input in the current folder and makes the script fail.
#   fuzz/run.sh [seconds, default 60]
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
seconds=${1:-60}
each=$(((seconds + 1) / 2))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

for target in tlv response; do
    clang -std=c11 -O1 -g -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Werror -pedantic \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        -I"$root/cpxd" -I/usr/include/PCSC "$root/fuzz/fuzz_$target.c" \
        "$root/cpxd/_apdu.c" "$root/cpxd/_apdu_exchange.c" "$root/cpxd/_apdu_secret.c" "$root/cpxd/_apdu_sha256.c" \
        "$root/cpxd/_apdu_terminal.c" "$root/cpxd/_apdu_tlv.c" -lpcsclite -o "$work/$target"
    mkdir "$work/corpus_$target"
    status=0
    "$work/$target" -max_total_time="$each" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        "$work/corpus_$target" "$root/fuzz/seeds/$target" >"$work/$target.log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$work/$target.log"
        echo "fuzz $target: FAILED" >&2
        exit 1
    fi
    echo "fuzz $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log") executions in $each s, no finding"
done
