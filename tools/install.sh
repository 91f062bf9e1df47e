#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install.sh install|files|remove: cpxd under PREFIX (root: /usr/local, else ~/.local), its user units, its p11-kit module file.
# "files" writes those of an installation that is there already. Browsers are told of nothing (cpxd register), but "remove" undoes it.
# DESTDIR is put before every path that is written, for who makes a package of it; nothing outside it is touched then.
set -eu
umask 022 # what is installed for all can be read by all, and a program that others can change is started by nobody
here=$(cd "$(dirname "$0")/.." && pwd)
dest="${DESTDIR:-}"
base() { case "$1" in /*) echo "$1" ;; *) echo "$HOME/$2" ;; esac } # a relative one is none, as cpxd reads it
if [ "$(id -u)" = 0 ]; then
  prefix="${PREFIX:-/usr/local}"
  units="${UNITS:-/etc/systemd/user}"
  modules="${MODULES:-/usr/share/p11-kit/modules}"
else
  prefix="${PREFIX:-$HOME/.local}"
  units="${UNITS:-$(base "${XDG_CONFIG_HOME:-}" .config)/systemd/user}"
  modules="${MODULES:-$(base "${XDG_CONFIG_HOME:-}" .config)/pkcs11/modules}"
fi
home="$prefix/lib/cpxd"
bin="${BIN:-$prefix/bin/cpxd}"

fill() { # TEMPLATE TARGET: whole or not at all
  local text program=${bin//%/%%} # as systemd wants it
  text=$(<"$here/packaging/$1")
  text=${text//@BIN@/"$program"}
  mkdir -p "$(dirname "$2")"
  printf '%s\n' "${text//@MODULE@/"$module"}" >"$2.new"
  chmod 0644 "$2.new"
  mv "$2.new" "$2"
  echo "$2"
}

files() {
  if [ -n "$dest" ]; then module=$("$dest$home/bin/python" -I -m cpxd.cli.main path pkcs11); else module=$("$bin" path pkcs11); fi
  module="${module#"$dest"}"
  fill cpxd.socket "$dest$units/cpxd.socket"
  fill cpxd.service "$dest$units/cpxd.service"
  fill cpxd.module "$dest$modules/cpxd.module"
}

program() { # built from a copy: the checkout may be somebody else's, and hold what is left of older builds
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -r "$here"/{pyproject.toml,setup.py,README.md,LICENSE,cpxd,simulator} "$work"
  "${PYTHON:-/usr/bin/python3}" -m venv "$dest$home"
  "$dest$home/bin/python" -m pip install -q --disable-pip-version-check "${work}[desktop]"
  [ -z "$dest" ] || grep -rlIF "$dest$home" "$dest$home/bin" "$dest$home/pyvenv.cfg" | xargs -r -d '\n' sed -i "s|$dest$home|$home|g"
  mkdir -p "$dest$(dirname "$bin")"
  ln -sfn "$home/bin/cpxd" "$dest$bin"
}

stop() { # the services that run out of this installation, one a person; the next program that asks starts the new one
  local process running=""
  for process in /proc/[0-9]*; do
    case "$(tr '\0' ' ' 2>/dev/null <"$process/cmdline")" in
      "$home/bin/python"*" serve "*) kill "${process#/proc/}" 2>/dev/null && running="$running $process" ;;
    esac
  done
  for process in $running; do
    for _ in {1..50}; do
      grep -qs . "$process/cmdline" || break
      sleep 0.1
    done
  done
}

case "${1:-}" in
  install)
    program
    files
    [ -z "$dest" ] || exit 0
    stop
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
    if [ -z "$dest" ] && [ -x "$bin" ]; then
      if [ "$(id -u)" = 0 ]; then "$bin" unregister --machine || :; else "$bin" unregister || :; fi
      [ "$(id -u)" = 0 ] || systemctl --user stop cpxd.socket cpxd.service 2>/dev/null || :
      stop
    fi
    rm -f "$dest$units"/{cpxd.socket,cpxd.service,sockets.target.wants/cpxd.socket,default.target.wants/cpxd.service}
    rm -f "$dest$modules/cpxd.module"
    [ ! -L "$dest$bin" ] || rm -f "$dest$bin"
    rm -rf "$dest$home"
    if [ "$(id -u)" != 0 ] && [ -z "$dest" ]; then
      rm -rf "$(base "${XDG_CACHE_HOME:-}" .cache)/cpxd"
      rmdir -p --ignore-fail-on-non-empty "$units"/{sockets,default}.target.wants "$units" "$modules" "$(dirname "$home")" \
        "$(dirname "$bin")" 2>/dev/null || :
      for left in "$(base "${XDG_CONFIG_HOME:-}" .config)/cpxd" "$(base "${XDG_STATE_HOME:-}" .local/state)/cpxd"; do
        [ ! -e "$left" ] || echo "Gardé, réglages et journal / kept, settings and log: $left"
      done
    fi
    ;;
  *) echo "install.sh install|files|remove" >&2; exit 2 ;;
esac
