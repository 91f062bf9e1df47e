#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install the Debian packages that a target needs, if any is missing: packages.sh run|test|fuzz
set -eu
run="python3-venv python3-dev gcc libc6-dev make pkg-config libpcsclite-dev pcscd openssl util-linux iproute2"
test="opensc opensc-pkcs11 pcsc-tools vsmartcard-vpcd softhsm2 p11-kit p11-kit-modules gnutls-bin libnss3-tools
  libengine-pkcs11-openssl openssh-client curl openjdk-17-jdk-headless tmux gdb systemd procps faketime pinentry-curses pinentry-tty
  dbus-daemon dunst chromium firefox-esr xvfb xauth xdotool openbox imagemagick poppler-utils mupdf-tools xmlsec1 libxmlsec1-dev jose
  qpdf gnupg gpgsm nodejs libbcpkix-java less python3-gi gir1.2-gtk-3.0 wrk"
fuzz="clang libclang-rt-14-dev llvm"
command -v npm >/dev/null || test="$test npm" # axe-core comes from there; other builds of Node.js bring their own
case "${1:-run}" in
  run) wanted="$run" ;;
  test) wanted="$run $test $fuzz" ;;
  fuzz) wanted="$run $fuzz" ;;
  *) echo "packages.sh: run|test|fuzz" >&2; exit 2 ;;
esac
missing=""
for name in $wanted; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
as_root="env DEBIAN_FRONTEND=noninteractive"
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null ||
    { echo "Paquets manquants, root peut les installer / missing packages, for root: apt-get install$missing" >&2; exit 1; }
  as_root="sudo $as_root" # sudo passes no variable on
fi
options="-o DPkg::Lock::Timeout=500 -qq"
# shellcheck disable=SC2086
$as_root apt-get $options update
# shellcheck disable=SC2086
$as_root apt-get $options install -y --no-install-recommends $missing >/dev/null
