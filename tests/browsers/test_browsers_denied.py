# SPDX-License-Identifier: Apache-2.0
"""What a person once answered about the local network, as real browsers write it down, and as the doctor reads it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from browser_own import OwnChromium, OwnFirefox

from cpxd.doctor import lna
from cpxd.doctor.machine import Machine

DENIED, ALLOWED, UNKNOWN = "https://lgc.exemple.fr", "https://autre.exemple.fr:8443", "https://libre.exemple.fr"


class Chromium(OwnChromium):
    def _prepare(self, ca: str) -> None:
        """No certificate, and no policy: what the person sets counts."""

    def set(self, site: str, answer: str) -> None:
        """As its page of settings does."""
        self.evaluate(f"chrome.send('setOriginPermissions', [{site!r}, ['loopback-network'], {answer!r}])")


class Firefox(OwnFirefox):
    def set(self, site: str, answer: str) -> None:
        """As the answer to its question does (SitePermissions.sys.mjs)."""
        self._wire.ask("Marionette:SetContext", value="chrome")
        script = "const [site, answer] = arguments;"
        script += "const whose = Services.scriptSecurityManager.createContentPrincipalFromOrigin(site);"
        script += "Services.perms.addFromPrincipal(whose, 'loopback-network', answer === 'block' ? 2 : 1);"
        self._wire.ask("WebDriver:ExecuteScript", script=script, args=[site, answer])


def answers(home: Path, root: Path) -> dict[str, str]:
    return {found.site: found.answer for found in lna.of(Machine(root, home), [DENIED, ALLOWED, UNKNOWN])}


EXPECTED = {DENIED: "blocked by person", ALLOWED: "allowed", UNKNOWN: "asks"}


def test_chromium(tmp_path: Path) -> None:
    with Chromium({}, "") as browser:
        browser.open("chrome://settings/content")
        browser.wait("document.URL.startsWith('chrome://settings') && typeof chrome.send === 'function'")
        browser.set(DENIED, "block")
        browser.set(ALLOWED, "allow")
        assert browser.process is not None
        browser._pipe.tell("Browser.close")
        browser.process.wait(30)
        home = tmp_path / "home"
        (home / ".config").mkdir(parents=True)
        shutil.copytree(browser.home / "profile", home / ".config" / "chromium", ignore=lambda _, names: ignored(names))
    assert answers(home, tmp_path / "root") == EXPECTED
    written = json.loads((home / ".config/chromium/Default/Preferences").read_text())
    assert "loopback_network" in written["profile"]["content_settings"]["exceptions"], "this version names it so"


def ignored(names: list[str]) -> list[str]:
    return [name for name in names if name not in ("Default", "Preferences")]


def test_firefox(tmp_path: Path) -> None:
    """While it runs."""
    with Firefox({"MOZ_REMOTE_ALLOW_SYSTEM_ACCESS": "1"}, "") as browser:
        browser.set(DENIED, "block")
        browser.set(ALLOWED, "allow")
        folder = tmp_path / ".mozilla" / "firefox"
        folder.mkdir(parents=True)
        (folder / "profiles.ini").write_text(f"[Profile0]\nName=x\nIsRelative=0\nPath={browser._profile}\n")
        limit = time.monotonic() + 20  # it writes on a thread of its own
        while answers(tmp_path, tmp_path / "root") != EXPECTED and time.monotonic() < limit:
            time.sleep(0.1)
        assert answers(tmp_path, tmp_path / "root") == EXPECTED
