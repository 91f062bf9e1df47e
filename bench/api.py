# SPDX-License-Identifier: Apache-2.0
"""`make bench`: the local API. Requests a second beside a bare aiohttp server, what the uid check adds, 10,000 connections of
another user, and what the daemon costs while nobody asks. Exit 1 when a bound is not kept.

Times are of this machine now; only what was measured side by side in one run can be compared.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "api"))
from api_lab import ApiLab, api_lab
from test_api_gate import FOREIGN

from cpxd.api import peer

SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))  # of one run of wrk
IDLE = int(os.environ.get("BENCH_IDLE", "60"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "10000"))
ADDED = 1.0  # milliseconds that the check may add at the 99th percentile
RESIDENT = 45 * 1024  # KiB of an idle daemon
WOKEN = 6  # switches in IDLE: libpcsclite itself asks pcscd again every 60 s, whatever it is told; nothing of ours wakes
SITES = [f"https://s{number}.example" for number in range(1500)]  # each has a rate limit of its own
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-c"]
SCRIPT = """
local n = 0
request = function()
  n = n + 1
  local h = { ["X-Cpxd"] = "1", ["Sec-Fetch-Site"] = "cross-site", ["Origin"] = "https://s" .. (n %% 1500) .. ".example" }
  h["Host"] = "localhost:%d"
  return wrk.format("GET", "/v1/info", h)
end
done = function(summary, latency, requests)
  io.write(string.format("FOUND %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, summary.errors.status,
    latency:percentile(50), latency:percentile(99)))
end
"""
BARE = """
import json, ssl, sys
from aiohttp import web
body = json.dumps(json.loads(sys.argv[3])).encode()
async def info(request):
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_get("/v1/info", info)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), ssl_context=context, access_log=None, print=None)
"""


def resident(pid: int) -> int:
    """KiB."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


def switches(pid: int) -> int:
    """How often its threads have slept and were woken."""
    texts = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(re.findall(r"\nvoluntary_ctxt_switches:\s+(\d+)", text)[0]) for text in texts)


def asleep(pid: int) -> bool:
    before = switches(pid)
    time.sleep(1.0)
    return switches(pid) == before


# --- requests a second ----------------------------------------------------------------------------------------------


def wrk(port: int, folder: Path) -> tuple[float, int, float, float]:
    """Requests a second, answers that are no 200, milliseconds at the median and the 99th percentile."""
    script = folder / "info.lua"
    script.write_text(SCRIPT % port)
    command = ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "-s", str(script), f"https://127.0.0.1:{port}/v1/info"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS + 60).stdout
    requests, microseconds, bad, middle, high = map(int, re.findall(r"FOUND (\d+) (\d+) (\d+) (\d+) (\d+)", said)[0])
    return requests / microseconds * 1e6, bad, middle / 1000, high / 1000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def throughput(lab: ApiLab, folder: Path) -> None:
    info = json.dumps(lab.ask("GET", "/v1/info", headers={"Origin": SITES[0]}).json)
    port = free_port()
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(port), str(lab.state("localhost.pem")), info])
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        print(f"info route, wrk, 8 connections, {SECONDS} s each:        requests/s   ms p50   ms p99   RSS MiB")
        for _ in range(2):
            for name, number, pid in (("bare aiohttp with TLS", port, bare.pid), ("cpxd", lab.port, lab.daemon.process.pid)):
                rate, bad, middle, high = wrk(number, folder)
                note = f"   {bad} refused" if bad else ""
                print(f"  {name:<48}{rate:>14.0f}{middle:>9.2f}{high:>9.2f}{resident(pid) / 1024:>10.1f}{note}")
    finally:
        bare.terminate()
        bare.wait()


# --- who asks -------------------------------------------------------------------------------------------------------


@contextmanager
def accepting(check: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server that accepts, checks, says one byte and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    check(connection)
                    connection.sendall(b"x")

        threading.Thread(target=serve, daemon=True).start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)


def asked(port: int) -> float:
    """Milliseconds from connecting to the first byte."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as channel:
        assert channel.recv(1) == b"x"
    return (time.perf_counter() - started) * 1000


def latency() -> bool:
    with accepting(lambda connection: None) as without, accepting(peer.tcp_uid) as with_check:
        times: dict[int, list[float]] = {without: [], with_check: []}
        for _ in range(5000):
            for port, found in times.items():
                found.append(asked(port))
    fifty, high = ([statistics.quantiles(found, n=100)[at] for found in times.values()] for at in (49, 98))
    print(f"uid of who connects, 5,000 connections with and without in turn: p50 {fifty[0]:.3f} → {fifty[1]:.3f} ms,", end=" ")
    print(f"p99 {high[0]:.3f} → {high[1]:.3f} ms: +{high[1] - high[0]:.3f} ms (bound {ADDED})")
    return high[1] - high[0] < ADDED


def foreigners(lab: ApiLab) -> bool:
    """The script of the tests: plain HTTP and TLS hellos, IPv4 and IPv6, from user 65534."""
    apdus, before, started = lab.apdus, resident(lab.daemon.process.pid), time.monotonic()
    unix = Path(lab.lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock")
    command = [*NOBODY, FOREIGN, str(lab.port), str(CONNECTIONS), str(unix)]
    heard = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)
    taken, grown = time.monotonic() - started, resident(lab.daemon.process.pid) - before
    print(f"{CONNECTIONS} connections of another user: {heard} bytes answered, {lab.apdus - apdus} APDUs,", end=" ")
    print(f"{taken:.1f} s, RSS +{grown} KiB")
    return heard == 0 and lab.apdus == apdus and lab.ask("GET", "/v1/info", headers={"Origin": SITES[1]}).status == 200


# --- nobody asks ----------------------------------------------------------------------------------------------------


def idle() -> bool:
    with api_lab(["cps-medecin:cps3"], wait=False) as lab:
        pid = lab.daemon.process.pid
        while not lab.lab.card(0).apdu_count or not asleep(pid):
            pass
        before, woken = resident(pid), switches(pid)
        time.sleep(IDLE)
        woken = switches(pid) - woken
        print(f"a daemon that nobody asked yet: {before / 1024:.1f} MiB (bound 45), {woken} switches in {IDLE} s (bound {WOKEN})")
        kept = before <= RESIDENT and woken <= WOKEN
        lab.wait()
        lab.ask("GET", "/v1/info")
        time.sleep(8.0)  # an open connection is closed after 5
        woken = switches(pid)
        time.sleep(IDLE)
        woken = switches(pid) - woken
        print(f"after a site has asked: {resident(pid) / 1024:.1f} MiB, {woken} switches in {IDLE} s (bound {WOKEN})")
        return kept and woken <= WOKEN


def main() -> int:
    print(f"OpenSSL {ssl.OPENSSL_VERSION.split()[1]}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder, api_lab(["cps-medecin:cps3"], sites=SITES) as lab:
        throughput(lab, Path(folder))
        kept = [latency(), foreigners(lab)]
    kept.append(idle())
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
