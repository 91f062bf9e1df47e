# SPDX-License-Identifier: Apache-2.0
"""Hostile pages in both browsers (gauntlet.js; raw sockets are in tests/api/test_api_gate.py).

Local Network Access is off here: every address is one of this machine. What holds is cpxd's own.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

from api_lab import ApiLab, api_lab
from browser_page import Browser
from browser_site import ALLOWED, FOREIGN, Sites
from browser_web import CPXD, Setting, start

_SCRIPT = (Path(__file__).parent / "gauntlet.js").read_bytes()
_SHIPPED = (Path(__file__).parents[2] / "clients" / "js" / "cpxd.js").read_bytes()
_PAGE = '<!doctype html><meta charset="utf-8"><title>site</title><body><script>{names}</script><script src="{script}"></script>'
# What a page may learn: that it was refused. "loaded" is what browsers say of every frame, error page or not.
_TOLD = re.compile(
    r"TypeError( 0)?|NetworkError|SecurityError \d+|SecurityError|error|closed 10(06|15)|0 0|nothing|blocked|"
    r"no document of theirs|SyntaxError|NS_ERROR_\w+|Error|loaded"
)
_CLIENT = b"""<!doctype html><body><script>NAMES</script><script type="module">
import { Cpxd } from "./cpxd.js";
new Cpxd({ base: API }).authenticate({ nonce: "n".repeat(44) })
  .then(() => "done", (error) => error.code).then((told) => parent.postMessage(told, "*"));
</script></body>"""
_CONTROL = b"""
(async () => {
  const answer = await fetch(API + "/v1/readers", { headers: { "X-Cpxd": "1" } });
  const found = [answer.status, (await answer.json()).readers.length];
  found.push((await fetch(OTHER, { mode: "no-cors" })).type); // what stolen keys vouch for fails by its certificate alone
  const opened = await new Promise((done) => {
    const made = new WebSocket(API.replace("http", "ws") + "/v1/events", ["cpxd.v1"]);
    made.onopen = () => done(true);
    made.onerror = () => done(false);
  });
  document.documentElement.dataset.found = JSON.stringify([...found, opened]);
})();
"""


def ran(browser: Browser, address: str) -> dict[str, str]:
    browser.open(address)
    browser.wait(f"document.documentURI === {json.dumps(address)} && document.readyState === 'complete'")
    over = "document.documentElement.dataset.found || document.documentElement.dataset.failed"
    return dict(json.loads(str(browser.wait(over, 60))))


def memory(lab: ApiLab) -> int:
    text = Path(f"/proc/{lab.daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0])


def test_hostile_pages(kind: type[Browser], tmp_path: Path) -> None:
    with api_lab(["cps-medecin:cps3"]) as lab, Sites(tmp_path) as sites, ExitStack() as stack:
        lab.leaf()
        api = sites.elsewhere = f"https://localhost:{lab.port}"
        lab.lab.run([CPXD, "allow", sites.origin(ALLOWED)], check=True)
        (tmp_path / "stolen").mkdir()
        vouched = stack.enter_context(Sites(tmp_path / "stolen", issuer=lab.state("localhost.pem")))
        known = {"API": api, "ALLOWED": sites.origin(ALLOWED), "VOUCHED": vouched.origin(FOREIGN), "OTHER": sites.origin(FOREIGN)}
        names = "".join(f"const {name} = {json.dumps(address)};" for name, address in known.items())
        sites.pages |= {
            "/attaque.js": _SCRIPT,
            "/temoin.js": _CONTROL,
            "/client": _CLIENT.replace(b"NAMES", names.encode()),
            "/cpxd.js": _SHIPPED,
        }
        for name in ("/attaque", "/temoin"):
            sites.pages[name] = _PAGE.format(names=names, script=f"{name}.js").encode()
        lab.ask("GET", "/v1/info")
        with start(kind, lab, sites.ca, Setting()) as browser:
            address = f"{sites.origin(ALLOWED)}/temoin"
            browser.open(address)
            allowed = browser.wait("document.documentElement.dataset.found")
            assert json.loads(str(allowed)) == [
                200,
                1,
                "opaque",
                True,
            ]  # the browser does reach the service: what follows is refused
            apdus, dialogs, before = lab.apdus, lab.dialogs(), memory(lab)
            found = ran(browser, f"{sites.origin(FOREIGN)}/attaque?carte")
            assert len(found) >= 60
            print(json.dumps(found, indent=1))
            assert found.pop("allowed site with the client, in a frame") == "CPX-FRAMED"
            wrong = {name: told for name, told in found.items() if not _TOLD.fullmatch(told)}
            assert not wrong
            assert (lab.apdus, lab.dialogs()) == (apdus, dialogs)
            lab.lab.remove(0)
            lab.wait()
            without = ran(browser, f"{sites.origin(FOREIGN)}/attaque?vide")
            assert without.items() >= found.items()  # nobody can tell that there was a card
            assert lab.dialogs() == dialogs and memory(lab) - before < 5 * 1024
        assert Path(str(lab.lab.folder), "daemon.log").read_text() == ""
        assert lab.ask("GET", "/v1/info").status == 200
