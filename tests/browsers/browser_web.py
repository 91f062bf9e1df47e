# SPDX-License-Identifier: Apache-2.0
"""Browsers that were told of cpxd by `cpxd register --browsers` and by nothing else, before sites that ask the local API."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from api_lab import ApiLab
from browser_chromium import Chromium
from browser_firefox import Firefox
from browser_page import Browser
from browser_site import NAMES

CPXD = str(Path(sys.executable).with_name("cpxd"))
# The machine's policies, as an administrator has cpxd write them, in a copy of /etc that the browser alone sees.
_POLICIES = """
set -eu
mkdir -p "$HOME/etc"
cp -a /etc/. "$HOME/etc" 2>/dev/null || true
mount --bind "$HOME/etc" /etc
mount -t tmpfs none /var/lib
mkdir -p /etc/cpxd/origins.d
echo {origin} > /etc/cpxd/origins.d/site.list
{cpxd} register --browsers --machine >/dev/null
"""


@dataclass(frozen=True)
class Setting:
    """public: the port of 127.0.0.1 that counts as an address of the Internet, so that Local Network Access holds there.
    site: the origin that an administrator lets through; None: no policies. registered: before it is started.
    """

    public: int | None = None
    site: str | None = None
    registered: bool = True

    @property
    def before(self) -> str:
        return "" if self.site is None else _POLICIES.format(origin=self.site, cpxd=CPXD)


class WebFirefox(Firefox):
    setting = Setting()

    def _prepare(self, ca: str) -> None:
        super()._prepare(ca)
        wanted: dict[str, object] = {
            "network.dns.localDomains": ",".join(NAMES),
            "dom.disable_open_during_load": False,
            "network.websocket.delay-failed-reconnects": False,
        }
        if self.setting.public is not None:
            wanted["network.lna.address_space.public.override"] = f"127.0.0.1:{self.setting.public}"
        with (self._profile / "user.js").open("a") as file:
            file.writelines(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items())
        base = self.home / ".mozilla" / "firefox"
        base.mkdir(parents=True)
        (base / "profiles.ini").write_text(f"[Profile0]\nName=test\nIsRelative=0\nPath={self._profile}\n")
        _register(self)


class WebChromium(Chromium):
    setting = Setting()

    def _prepare(self, ca: str) -> None:
        super()._prepare(ca)
        self._policy = None
        options = ["--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-popup-blocking"]
        if self.setting.public is not None:
            options.append(f"--ip-address-space-overrides=127.0.0.1:{self.setting.public}=public")
        self.options = tuple(options)
        _register(self)


def _register(browser: WebFirefox | WebChromium) -> None:
    browser.before = browser.setting.before
    if browser.setting.registered:
        browser._run(CPXD, "register", "--browsers")


def start(kind: type[Browser], lab: ApiLab, ca: str, setting: Setting) -> Browser:
    """`ca`: who vouches for the sites."""
    base = WebFirefox if kind is Firefox else WebChromium
    made = type(base.__name__, (base,), {"setting": setting})
    browser: Browser = made(lab.lab.env, ca)
    return browser
