# SPDX-License-Identifier: Apache-2.0
"""Where a dialog may be shown, which program shows it, and how a command is written."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpxd import errors, text
from cpxd.dialog.assuan import LONGEST, command
from cpxd.dialog.display import DisplayHints, program_name
from cpxd.dialog.program import choose


@pytest.fixture
def tty() -> Iterator[str]:
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


# --- hints


def test_hints_from_an_environment(tty: str) -> None:
    hints = DisplayHints.from_environ(
        {"DISPLAY": ":0", "XAUTHORITY": "/home/é/.Xauthority", "GPG_TTY": tty, "TERM": "screen", "LANG": "C.UTF-8", "LC_ALL": ""},
        pid=7,
    )
    assert (hints.display, hints.xauthority, hints.tty, hints.pid) == (":0", "/home/é/.Xauthority", tty, 7)
    assert hints.graphical
    assert hints.has_terminal()
    options = dict(hints.options())
    assert options == {
        "lc-ctype": "C.UTF-8",
        "lc-messages": "C.UTF-8",
        "ttyname": tty,
        "ttytype": "screen",
        "owner": f"7/{os.getuid()} {os.uname().nodename}",
    }


def test_precedence_of_the_locale() -> None:
    assert DisplayHints.from_environ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}).lc_messages == "en_GB.UTF-8"
    assert DisplayHints.from_environ({"LC_ALL": "en_US.UTF-8", "LC_MESSAGES": "fr"}).lc_messages == "en_US.UTF-8"
    assert DisplayHints.from_environ({"LANG": "fr_FR", "LC_CTYPE": "en_GB"}).lc_ctype == "en_GB"


@pytest.mark.parametrize("value", [":0\nGETPIN", "a" * 256, "é" * 200, "\x1b[2J", ":0\0", "\udcff"])
def test_what_cannot_be_a_display_is_none(value: str) -> None:
    hints = DisplayHints.from_environ(
        dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_TTY", "TERM", "LANG"), value)
    )
    assert hints == DisplayHints()
    assert not hints.graphical


@pytest.mark.parametrize("value", ["not a tty", "/dev/tty", "/dev/null", "/dev/pts/../null", "/dev/pts/", "pts/0"])
def test_what_cannot_be_a_terminal_is_none(value: str) -> None:
    assert not DisplayHints(tty=value).has_terminal()
    assert "ttyname" not in dict(DisplayHints(tty=value).options())


def test_a_terminal_that_is_gone() -> None:
    assert not DisplayHints(tty="/dev/pts/999999").has_terminal()


def test_a_locale_that_cannot_write_our_texts_is_replaced() -> None:
    for name in ("", "C", "xx_YY.UTF-8", "../../x", "fr FR"):
        hints = DisplayHints(lc_ctype=name)
        assert dict(hints.options())["lc-ctype"] == "C.UTF-8"
        assert hints.environment()["LC_CTYPE"] == "C.UTF-8"


def test_a_kind_of_terminal_is_always_named(tty: str) -> None:
    for kind in ("", "dumb", "x y"):
        assert dict(DisplayHints(tty=tty, tty_type=kind).options())["ttytype"] == "xterm"
    assert dict(DisplayHints(tty="/dev/tty1").options())["ttytype"] == "linux"


def test_the_environment_is_minimal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD", "GTK_MODULES", "QT_PLUGIN_PATH", "SECRET", "DISPLAY", "LANG"):
        monkeypatch.setenv(name, "/x")
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    hints = DisplayHints(wayland_display="wayland-0", lc_messages="fr_FR.UTF-8")
    assert hints.environment() == {
        "PATH": "/usr/bin:/bin",
        "LC_CTYPE": "C.UTF-8",
        "LC_MESSAGES": "fr_FR.UTF-8",
        "WAYLAND_DISPLAY": "wayland-0",
        "HOME": "/home/x",
        "XDG_RUNTIME_DIR": "/run/user/7",
    }


def test_language(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DisplayHints(lc_messages="en_GB.UTF-8").language == "en"
    assert DisplayHints(lc_messages="fr_FR.UTF-8").language == "fr"
    monkeypatch.setattr(text, "_chosen", ["en"])
    assert DisplayHints().language == "en"


# --- the program that asks


def test_program_name() -> None:
    assert program_name(os.getpid()) == Path(sys.executable).resolve().name
    assert program_name(2**30) == "un programme inconnu"


def test_program_name_of_one_that_was_replaced_while_it_ran(tmp_path: Path) -> None:
    copy = tmp_path / "signer"
    shutil.copy("/bin/sleep", copy)
    with subprocess.Popen([copy, "60"]) as process:
        try:
            copy.unlink()
            assert program_name(process.pid) == "signer"
        finally:
            process.kill()


# --- the program that is asked


def program(folder: Path, name: str, mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.fixture
def bin(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir(mode=0o755)
    return folder


def test_on_a_display_a_window(bin: Path, tty: str) -> None:
    for name in ("pinentry-curses", "pinentry-tty", "pinentry-qt", "pinentry-gtk-2"):
        program(bin, name)
    (bin / "pinentry").symlink_to("pinentry-curses")
    display = DisplayHints(display=":0")
    assert choose("", display, bin) == bin / "pinentry-qt"
    (bin / "pinentry").unlink()
    (bin / "pinentry").symlink_to("pinentry-gtk-2")
    assert choose("", display, bin) == bin / "pinentry-gtk-2"
    assert choose("", DisplayHints(display=":0", tty=tty), bin) == bin / "pinentry-gtk-2"
    assert choose("", DisplayHints(tty=tty), bin) == bin / "pinentry-curses"


def test_on_a_display_with_text_programs_only(bin: Path, tty: str) -> None:
    program(bin, "pinentry-tty")
    assert choose("", DisplayHints(display=":0", tty=tty), bin) == bin / "pinentry-tty"
    with pytest.raises(errors.NoPinSource, match="aucun programme pinentry"):
        choose("", DisplayHints(display=":0"), bin)


def test_on_a_terminal_a_window_program_falls_back(bin: Path, tty: str) -> None:
    program(bin, "pinentry-gnome3")
    assert choose("", DisplayHints(tty=tty), bin) == bin / "pinentry-gnome3"


def test_nowhere(bin: Path) -> None:
    program(bin, "pinentry-gnome3")
    with pytest.raises(errors.NoPinSource, match="ni écran ni terminal"):
        choose("", DisplayHints(), bin)
    with pytest.raises(errors.NoPinSource, match="ni écran ni terminal"):
        choose(str(bin / "pinentry-gnome3"), DisplayHints(), bin)
    with pytest.raises(errors.NoPinSource, match="pas de terminal"):
        choose(str(program(bin, "pinentry-tty")), DisplayHints(display=":0"), bin)


def test_the_setting_wins(bin: Path, tty: str) -> None:
    program(bin, "pinentry-qt")
    mine = program(bin, "mine")
    assert choose(str(mine), DisplayHints(), bin) == mine
    assert choose(str(mine), DisplayHints(display=":0", tty=tty), bin) == mine


def refused(path: Path | str) -> None:
    with pytest.raises(errors.NoPinSource, match="que seuls root et vous"):
        choose(str(path), DisplayHints(display=":0"))


def test_what_others_could_have_put_there_is_refused(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = program(bin, "good")
    assert choose(str(good), DisplayHints()) == good
    refused(program(bin, "group", 0o775))
    refused(program(bin, "world", 0o757))
    refused(program(bin, "plain", 0o644) if os.geteuid() else bin / "absent")
    refused(bin)
    refused(bin / "absent")
    refused("pinentry-qt")
    refused("good\0")
    (bin / "loop").symlink_to("loop")
    refused(bin / "loop")
    monkeypatch.chdir(bin)
    refused("good")
    (bin / "link").symlink_to("good")
    assert choose(str(bin / "link"), DisplayHints()) == good
    bin.chmod(0o777)
    refused(good)
    bin.chmod(0o1777)  # as /tmp: only its owner can replace a file there
    assert choose(str(good), DisplayHints()) == good
    bin.chmod(0o755)


def test_what_another_person_owns_is_refused(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = program(bin, "good")
    if os.geteuid() == 0:
        os.chown(good, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    refused(good)


# --- commands


@pytest.mark.parametrize(
    ("words", "said", "line"),
    [
        ("GETPIN", "", b"GETPIN\n"),
        ("SETDESC", "é 100 %\nb\r\tc\x1b", "SETDESC é 100 %25%0Ab  c \n".encode()),
        ("SETDESC", "\u202eabc\udcff", b"SETDESC  abc \n"),
    ],
)
def test_commands(words: str, said: str, line: bytes) -> None:
    assert command(words, said) == line
    assert command(words, said, may_fail=True) == b"-" + line


@pytest.mark.parametrize("character", ["a", "é", "%", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("count", [222, 223, 224, 296, 297, 445, 446, 447, 890, 891, 892, 893, 894, 5000])
def test_commands_are_cut(character: str, count: int) -> None:
    line = command("SETDESC", character * count)
    assert len(line) <= LONGEST + 1
    assert line.endswith(b"\n")
    said = line.decode().removeprefix("SETDESC ").rstrip("\n").replace("%25", "%")
    assert said == character * count or (said.endswith("…") and said.rstrip("…") == character * (len(said) - 1))
    assert len(line) > LONGEST - 12 or said == character * count
