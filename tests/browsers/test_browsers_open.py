# SPDX-License-Identifier: Apache-2.0
"""`cpxd register` and `cpxd unregister` beside a browser that is open: nothing breaks, and its next start obeys."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from api_lab import api_lab
from browser_firefox import Firefox
from browser_page import Browser
from browser_site import ALLOWED, Sites
from browser_web import CPXD, Setting, start

_PAGE = """<!doctype html><meta charset="utf-8"><body><script>
fetch("%s/v1/info", { headers: { "X-Cpxd": "1" } })
  .then((answer) => answer.status, () => "refused").then((told) => (document.title = `${location.search} ${told}`));
</script></body>"""


def test_beside_an_open_browser(kind: type[Browser], tmp_path: Path) -> None:
    with api_lab([None]) as lab, Sites(tmp_path) as sites:
        lab.lab.run([CPXD, "allow", sites.origin(ALLOWED)], check=True)
        sites.pages["/page"] = (_PAGE % f"https://localhost:{lab.port}").encode()
        visits = 0

        def told(browser: Browser) -> str:
            nonlocal visits
            visits += 1
            browser.open(f"{sites.origin(ALLOWED)}/page?{visits}")
            return str(browser.wait(f"document.title.startsWith({json.dumps(f'?{visits} ')}) && document.title")).split()[1]

        with start(kind, lab, sites.ca, Setting(registered=False)) as browser:
            assert told(browser) == "refused"
            for command, then in ((["register", "--browsers"], "200"), (["unregister"], "refused")):
                done = subprocess.run([CPXD, *command], env=browser.environment, capture_output=True, text=True, check=True)
                assert "✓" in done.stdout and (kind is not Firefox or "redémarrez-le" in done.stdout)
                browser.restart()
                assert told(browser) == then
