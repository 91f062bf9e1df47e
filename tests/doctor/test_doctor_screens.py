# SPDX-License-Identifier: Apache-2.0
"""What a person sees in a terminal of 80 columns (tmux). The screens are kept: CPX_TEST_ARTIFACTS, or a folder of /tmp."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_bench import artifact
from cpxd_lab import CPXD, UNBLOCK, card, plain_environment, tries

from simulator.lab import Lab


class Tmux:
    """One window of 80 by 24, on a server of its own."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.folder = folder
        self._socket = folder / "tmux"
        self._environment = {**os.environ, **lab.env, **plain_environment(), "TERM": "xterm"}

    def _tmux(self, *words: str) -> str:
        line = ["tmux", "-f", "/dev/null", "-S", str(self._socket), *words]
        return subprocess.run(line, env=self._environment, capture_output=True, text=True, check=True, timeout=10).stdout

    def start(self, *words: str) -> None:
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", "sh", "-c", f"{CPXD} {' '.join(words)}; echo END; cat")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def see(self, wanted: str, name: str) -> str:
        """Waits for a text, and keeps the screen under a name."""
        deadline = time.monotonic() + 20
        while wanted not in (screen := self._tmux("capture-pane", "-p")):
            assert time.monotonic() < deadline, f"no {wanted!r}:\n{screen}"
            time.sleep(0.05)
        artifact(f"terminal-{name}", "txt").write_text(screen, encoding="utf-8")
        return screen

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def tmux(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tmux]:
    opened = Tmux(tmp_path_factory.mktemp("screens"), lab)
    yield opened
    opened.close()


def test_rescue_screen_by_screen(lab: Lab, tmux: Tmux) -> None:
    virtual = card("cps-pin-bloque", "cps4")
    lab.insert(0, virtual)
    tmux.start("rescue")
    first = tmux.see("[O/n]", "1-blocked")
    assert "n'est pas perdue" in first
    tmux.type("o")
    for screen, typed in (
        ("Tapez le code de déblocage", UNBLOCK),
        ("Choisissez un nouveau", "2580"),
        ("encore une fois", "2580"),
    ):
        page = tmux.see(screen, f"ask-{typed}-{screen[:5]}")
        assert page.count("— Écran") == 1, "one question a screen"
        time.sleep(0.1)
        tmux.type(typed)
    last = tmux.see("END", "5-done")
    assert "débloquée" in last and "2580" not in last and tries(virtual) == 3


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize(("words", "wanted"), [("doctor", "cpxd unblock"), ("status", "○○○")])
def test_pages_fit_in_80_columns(lab: Lab, tmux: Tmux, words: str, wanted: str, language: str) -> None:
    lab.insert(0, card("cps-pin-bloque"))
    tmux.start(words, "--lang", language)
    screen = tmux.see("END", f"{words}-{language}")
    assert wanted in screen
