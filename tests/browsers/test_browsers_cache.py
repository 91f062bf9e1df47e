# SPDX-License-Identifier: Apache-2.0
"""What a browser keeps by itself before a server that resumes TLS sessions, as the sandbox never does (docs/BROWSERS.md).

Neither PKCS#11 nor the daemon is asked when a session is resumed. A change here is a change for that document.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser_bench import Bench, holder_of
from browser_firefox import Firefox
from browser_page import Browser
from client_tls import MutualTls

from simulator import source

FIRST, SECOND = holder_of("cps-medecin"), holder_of("cps-infirmier")
_NSS_LOOKS = 1.1  # seconds, see test_browsers_swap.py


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_resumed_session(kind: type[Browser], version: str, tmp_path: Path) -> None:
    """Firefox drops the sessions of a card that has left. Chromium goes on as the previous holder until it is started anew."""
    with Bench("cps-medecin:cps4", pin="agent") as bench, ExitStack() as stack:
        authorities = Path(bench.environment["CPX_SIM_PKI"]) / "ca.pem"
        server = stack.enter_context(MutualTls(version, authorities, tmp_path))
        with kind(bench.environment, str(server.trust)) as browser:
            assert greeted(browser, server, 1) == f"bonjour {FIRST}, TLSv{version}"
            bench.lab.remove(0)
            bench.lab.insert(0, source.make("cps-infirmier:cps4"))
            time.sleep(_NSS_LOOKS)
            there = SECOND if kind is Firefox else FIRST
            assert greeted(browser, server, 2) == f"bonjour {there}, TLSv{version}"
            assert greeted(browser, server, 3) == f"bonjour {there}, TLSv{version}"
        with kind(bench.environment, str(server.trust)) as anew:
            assert greeted(anew, server, 4) == f"bonjour {SECOND}, TLSv{version}"


def greeted(browser: Browser, server: MutualTls, visit: int) -> str:
    address = f"{server.address}?{visit}"
    browser.open(address)
    browser.wait(f"document.documentURI === {address!r} && document.readyState === 'complete'")
    return str(browser.evaluate("document.body.innerText")).strip()
