#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install.sh install|files|remove: cpxd under PREFIX (root: /usr/local, else ~/.local), its user units, its p11-kit module file.
# "files" writes those of an installation that is there already. Nothing of the machine's browsers is touched: cpxd register.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
if [ "$(id -u)" = 0 ]; then
  prefix="${PREFIX:-/usr/local}"
  units="${UNITS:-/etc/systemd/user}"
  modules="${MODULES:-/usr/share/p11-kit/modules}"
else
  prefix="${PREFIX:-$HOME/.local}"
  units="${UNITS:-${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user}"
  modules="${MODULES:-${XDG_CONFIG_HOME:-$HOME/.config}/pkcs11/modules}"
fi
home="$prefix/lib/cpxd"
bin="${BIN:-$prefix/bin/cpxd}"

fill() { # TEMPLATE TARGET: whole or not at all
  mkdir -p "$(dirname "$2")"
  sed -e "s|@BIN@|$bin|" -e "s|@MODULE@|$module|" "$here/packaging/$1" >"$2.new"
  chmod 0644 "$2.new"
  mv "$2.new" "$2"
}

files() {
  module=$("$bin" path pkcs11)
  fill cpxd.socket "$units/cpxd.socket"
  fill cpxd.service "$units/cpxd.service"
  fill cpxd.module "$modules/cpxd.module"
  echo "$units/cpxd.socket"
  echo "$units/cpxd.service"
  echo "$modules/cpxd.module"
}

case "${1:-}" in
  install)
    python3 -m venv "$home"
    "$home/bin/python" -m pip install -q --disable-pip-version-check "$here"
    mkdir -p "$prefix/bin"
    ln -sfn "$home/bin/cpxd" "$bin"
    files
    if [ "$(id -u)" = 0 ]; then
      echo "systemctl --global enable cpxd.socket"
    else
      echo "systemctl --user daemon-reload; systemctl --user enable --now cpxd.socket"
      grep -qs '^user-config: *merge' /etc/pkcs11/pkcs11.conf ||
        echo "p11-kit: user-config: merge (/etc/pkcs11/pkcs11.conf, root)"
    fi
    ;;
  files) files ;;
  remove)
    rm -f "$units/cpxd.socket" "$units/cpxd.service" "$modules/cpxd.module"
    [ ! -L "$bin" ] || rm -f "$bin"
    rm -rf "$home"
    ;;
  *) echo "install.sh install|files|remove" >&2; exit 2 ;;
esac
