#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the APDU core with AddressSanitizer and UndefinedBehaviorSanitizer into a temporary folder and runs its whole suite
# of tests on that build. Any finding aborts the test that caused it.
#   fuzz/run_asan.sh [pytest options]        PYTHON: the interpreter, default .venv/bin/python
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$root"

mkdir "$work/cpxd"
cp cpxd/__init__.py cpxd/apdu.py cpxd/secret.py cpxd/tlv.py "$work/cpxd"
include=$("$python" - "$work" <<'PYTHON'
import sys
import sysconfig

sys.path.insert(0, "")
from cpxd._apdu_build import ffibuilder

ffibuilder.emit_c_code(sys.argv[1] + "/_apdu_ffi.c")
print(sysconfig.get_path("include"))
PYTHON
)
sources=$("$python" -c 'import sys; sys.path.insert(0, ""); from cpxd._apdu_build import SOURCES; print(*SOURCES)')
include=$(printf '%s\n' "$include" | tail -n 1)

sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
warnings="-Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Werror"
objects=
for source in $sources; do
    object=$work/$(basename "$source" .c).o
    gcc -std=c11 -O1 -g -fPIC $warnings -pedantic $sanitize -I/usr/include/PCSC -c "$source" -o "$object"
    objects="$objects $object"
done
gcc -std=c11 -O1 -g -fPIC $sanitize -shared -Icpxd -I/usr/include/PCSC -I"$include" \
    "$work/_apdu_ffi.c" $objects -lpcsclite -o "$work/cpxd/_apdu_ffi.abi3.so"

export PYTHONPATH="$work" PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD=$(gcc -print-file-name=libasan.so)
export LD_PRELOAD
cd "$work" # the tests start programs of their own: those import this build too
"$python" -c "import cpxd._apdu_ffi as m; assert m.__file__.startswith('$work'), m.__file__"
"$python" -m pytest -c "$root/pyproject.toml" --rootdir "$root" "$@" \
    "$root"/tests/unit/test_apdu*.py "$root"/tests/unit/test_secret*.py "$root"/tests/unit/test_tlv*.py \
    "$root"/tests/galss/test_galss_frame.py
