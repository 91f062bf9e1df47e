# SPDX-License-Identifier: Apache-2.0
"""PINs typed in our dialog while a page waits: nothing of them is left in the daemon, in the browser, or in any log."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from api_lab import ApiLab, api_lab
from browser_page import Browser
from browser_site import ALLOWED, Sites
from browser_web import CPXD, Setting, start

_LEFT_AFTER = 0.1  # seconds
_PINS = 3
_BLOCK = 1 << 24  # bytes read at once
_PAGE = """<!doctype html><meta charset="utf-8"><body><script>
window.ask = async (nonce) => {
  const headers = { "X-Cpxd": "1", "Content-Type": "application/json" };
  const answer = await fetch("%s/v1/authenticate", { method: "POST", headers, body: JSON.stringify({ nonce }) });
  document.title = `${nonce.slice(0, 4)} ${answer.status} ${(await answer.json()).format}`;
};
addEventListener("hashchange", () => ask(location.hash.slice(1).padEnd(44, "n")));
</script></body>"""


def written(pid: int) -> Iterator[tuple[int, int]]:
    """Mappings that the process can write, and of which there is anything."""
    at, end, writable = 0, 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (..)", line)
        if head is not None:
            at, end, writable = int(head[1], 16), int(head[2], 16), head[3] == "rw"
        elif writable and line.startswith("Rss:") and line.split()[1] != "0":
            yield at, end


def mapped(pid: int) -> Iterator[bytes]:
    """All that a process can write, a few MiB at a time that overlap."""
    try:
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for first, end in written(pid):
                at = first
                while at < end:
                    memory.seek(at)
                    try:
                        content = memory.read(min(_BLOCK, end - at))
                    except OSError:  # a mapping of a device
                        break
                    if not content:
                        break
                    yield content
                    at += max(len(content) - 16, 1) if at + len(content) < end else len(content)
    except (FileNotFoundError, ProcessLookupError):
        return


def forms(lab: ApiLab) -> list[bytes]:
    """The block in the last VERIFY with a code that the card was sent, as it is and in hexadecimal. The command holds it."""
    command = [bytes(sent) for sent, _ in lab.lab.card(0).trace if sent[1] == 0x20 and len(sent) > 5][-1]
    block = command[5 : 5 + command[4]]
    return [block, block.hex().encode(), block.hex().upper().encode()]


def found(pid: int, wanted: list[bytes]) -> list[bytes]:
    return [form for content in mapped(pid) for form in wanted if form in content]


def family(pid: int) -> list[int]:
    """A process and all that came from it, wherever they are now: a browser's are of one session."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == pid:
            members.append(int(path.parent.name))
    return members


def test_the_search_finds_what_is_there() -> None:
    """Else the test below could not fail."""
    kept = bytearray(b"7391".ljust(8, b"\xff"))
    assert sum(content.count(bytes(kept)) for content in mapped(os.getpid())) >= 1


def test_no_pin_is_left(kind: type[Browser], tmp_path: Path) -> None:
    with api_lab(["cps-medecin:cps3"], ["cancel"]) as lab, Sites(tmp_path) as sites:
        lab.lab.run([CPXD, "allow", sites.origin(ALLOWED)], check=True)
        address = f"{sites.origin(ALLOWED)}/page"
        sites.pages["/page"] = (_PAGE % f"https://localhost:{lab.port}").encode()
        current, wanted = "1234", list[bytes]()
        with start(kind, lab, sites.ca, Setting()) as browser:
            browser.open(address)
            browser.wait(f"document.documentURI === {address!r} && document.readyState === 'complete'")
            for number in range(_PINS):
                new = f"{secrets.randbelow(10_000):04d}"
                while new == current:
                    new = f"{secrets.randbelow(10_000):04d}"
                changed(lab, current, new)
                lab.answers(f"pin {new}")
                asked = f"{number:04d}"
                browser.evaluate(f"(location.hash = '{asked}')")
                assert browser.wait(f"document.title.startsWith('{asked}') && document.title", 40) == f"{asked} 200 web-eid:1.0"
                time.sleep(_LEFT_AFTER)
                current = new
                blocks = forms(lab)
                assert new.encode() in blocks[0]
                assert not found(lab.daemon.process.pid, blocks)
                wanted += blocks
            pages = family(browser.process.pid if browser.process else 0)
            assert len(pages) >= 3  # the browser, and the processes of its pages
            for pid in (lab.daemon.process.pid, *pages):
                assert not found(pid, wanted), pid
            assert browser.alive
            logs = [browser.log().encode(), Path(str(lab.lab.folder), "daemon.log").read_bytes()]
            logs += [path.read_bytes() for path in lab.state().rglob("*") if path.is_file()]
            for log in logs:
                assert not [form for form in wanted if form in log]


def changed(lab: ApiLab, old: str, new: str) -> None:
    """By the command, which is another process."""
    reading, writing = os.pipe()
    os.write(writing, f"{old}\n{new}\n".encode())
    os.close(writing)
    done = lab.lab.run([CPXD, "pin", "change", "--pin-fd", str(reading)], pass_fds=[reading], capture_output=True)
    os.close(reading)
    assert done.returncode == 0, done.stderr
