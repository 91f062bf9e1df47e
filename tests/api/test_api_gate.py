# SPDX-License-Identifier: Apache-2.0
"""Raw-socket attacks on the door. None reaches the card or the person, and none can tell whether a card is there."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import resource
import socket
import subprocess
import time
from pathlib import Path

import pytest
from api_lab import BROWSER, SITE, ApiLab, api_lab, everything, parse
from api_lab import answer as parse_answer

NONCE = '{"nonce":"' + "n" * 44 + '"}'
LINES = {"method": "POST", "path": "/v1/authenticate", "version": "HTTP/1.1"}


def request(port: int, changes: dict[str, str | None], body: str = NONCE, more: tuple[str, ...] = (), **line: str) -> bytes:
    named: dict[str, str | None] = {"Host": f"localhost:{port}", **BROWSER, "Content-Type": "application/json"}
    named |= {"Content-Length": str(len(body.encode())), "Connection": "close"} | changes
    first = LINES | line
    head = [f"{first['method']} {first['path']} {first['version']}"]
    head += [f"{name}: {value}" for name, value in named.items() if value is not None]
    return ("\r\n".join([*head, *more]) + "\r\n\r\n" + body).encode("latin-1")


HOSTS = (
    *(
        "evil.example",
        "evil.example:{port}",
        "localhost",
        "localhost:1",
        "localhost.evil.example:{port}",
        "127.0.0.1.nip.io:{port}",
    ),
    *("0.0.0.0:{port}", "[::]:{port}", "[::ffff:127.0.0.1]:{port}", "127.0.0.2:{port}", "127.1:{port}", "2130706433:{port}"),
    *(
        "[0:0:0:0:0:0:0:1]:{port}",
        "[::1%25lo]:{port}",
        "::1:{port}",
        "[::1]",
        "127.0.0.1",
        "localhost:{port}:{port}",
        "localhost:",
    ),
    *("l\xf6calhost:{port}", "localhost%2e:{port}", "localhost :{port}", "localhost:0{port}", "https://localhost:{port}"),
    *("localhost:{port}.evil.example", "user@localhost:{port}", "LOCALHOST.:{port}", "", "localhost:{port}, evil.example"),
)
ORIGINS = (
    *(
        "null",
        "https://evil.example",
        "http://lgc.example",
        "https://lgc.example.",
        "https://lgc.example:444",
        "https://LGC.example",
    ),
    *("https://lgc.example.evil.example", "https://evil-lgc.example", "https://a.lgc.example", "https://lgc.example/", "file://"),
    *(
        "https://lgc.example, https://evil.example",
        "https://lgc.example@evil.example",
        "https://localhost:{port}",
        "*",
        "",
        "lgc.example",
    ),
    *(
        "https://127.0.0.1:{port}",
        "chrome-extension://lgc.example",
        "https://lgc.example%00.evil",
        "https://lgc.example:443",
        "data:",
    ),
)
HEADERS: tuple[dict[str, str | None], ...] = (
    {"X-Cpxd": None},
    {"X-Cpxd": "0"},
    {"Sec-Fetch-Site": None},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Dest": "script"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "text/plain; application/json"},
    {"Content-Type": None},
    {"Content-Encoding": "gzip"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "localhost"},
    {"Forwarded": "for=127.0.0.1"},
    {"Via": "1.1 proxy"},
    {"Content-Length": "99999999"},
    {"Content-Length": "-1"},
    {"Content-Length": "1_0"},
    {"Upgrade": "websocket"},
    {"Upgrade": "h2c"},
    {"Transfer-Encoding": "chunked"},
    {"Transfer-Encoding": "chunked", "Content-Length": None},
)
DOUBLED = ("Host: evil.example", f"Origin: {SITE}", "Origin: null", "Content-Length: 0", "Content-Type: text/plain", "X-Cpxd: 1")
BODIES = (
    '{"nonce":"short"}',
    '{"nonce":"' + "n" * 129 + '"}',
    '{"nonce":44}',
    '{"nonce":"' + "n" * 44 + '","pin":"1234"}',
    '{"nonce":"' + "n" * 44 + '","origin":"https://evil.example"}',
    '{"nonce":"' + "n" * 44 + '","nonce":"' + "m" * 44 + '"}',
    '{"nonce":"' + "n" * 44 + '","reader":true}',
    '{"nonce":"' + "n" * 44 + '","reader":1e400}',
    "[" * 8000,
    "null",
    "{",
    "",
)
TARGETS = ("http://localhost/v1/authenticate", "/v1/authenticate?x=1", "//v1/authenticate", "/v1/../v1/authenticate", "/", "*")
TARGETS += ("/v1/%61uthenticate", "/v1/authenticate/", "/v1/authenticate#x", "/V1/authenticate", "/v2/authenticate")
PREFLIGHTS: tuple[dict[str, str | None], ...] = (
    {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    {"Origin": "null", "Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"},
    {"Origin": None, "Access-Control-Request-Method": "POST"},
    {"Access-Control-Request-Method": "DELETE"},
    {"Access-Control-Request-Method": None},
    {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-cpxd, authorization"},
)


def attacks(port: int) -> list[bytes]:
    found = [request(port, {"Host": host.format(port=port)}) for host in HOSTS] + [request(port, {"Host": None})]
    found += [request(port, {"Origin": origin.format(port=port)}) for origin in ORIGINS] + [request(port, {"Origin": None})]
    found += [request(port, change) for change in HEADERS]
    found += [request(port, {}, more=(line,)) for line in DOUBLED]
    found += [request(port, {}, body=body) for body in BODIES]
    found += [request(port, {}, path=target) for target in TARGETS]
    found += [request(port, {}, method=method) for method in ("GET", "PUT", "DELETE", "TRACE", "CONNECT", "HEAD", "PATCH")]
    found += [request(port, change, body="", method="OPTIONS") for change in PREFLIGHTS]
    found += [
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request(port, {"X-A": "a\nOrigin: https://lgc.example", "Origin": None}),
        request(port, {"X-A": "a\x00b"}),
        request(port, {}, more=("Transfer-Encoding : chunked",)),
        request(port, {}, more=("Transfer-Encoding: identity",)),
        request(port, {"Content-Length": "60 "}, more=("content-length: 60",)),
        b"A" * 100_000,
        request(port, {"X-Long": "y" * 70_000}),
        request(port, {}, version="HTTP/9"),
    ]
    found += [
        request(port, {}, more=tuple(f"X-{n}: 1" for n in range(500))),
        request(port, {}, more=("Bad Header: 1", " folded")),
    ]
    smuggled = request(port, {"Origin": "https://evil.example"})
    found.append(request(port, {"Origin": "null", "Connection": "keep-alive", "Content-Length": "0"}, body="") + smuggled)
    return found


def memory(lab: ApiLab) -> int:
    text = Path(f"/proc/{lab.daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0])


def test_attacks_reach_neither_card_nor_person(doctor: ApiLab) -> None:
    doctor.ask("GET", "/v1/info")
    apdus, dialogs = doctor.apdus, doctor.dialogs()
    found = attacks(doctor.port)
    assert len(found) >= 100
    sent = 0
    for wire in found[:10] + found:
        if sent == 10:
            start = memory(doctor)
        sent += 1
        if sent % 8 == 0:
            time.sleep(0.2)  # below the rate limit of the allowed site: each is judged on its own
        with doctor.tls() as channel:
            try:
                channel.sendall(wire)
            except OSError:
                continue
            data = everything(channel)
        if not data:
            continue
        answer = parse(data)
        assert 400 <= answer.status < 500 or answer.status == 501, wire[:300]
        for word in (b"cpx-sim", b"1234", b"CPS3", b"2600997001", b"<html", b"Traceback", b"aiohttp"):
            assert word not in data, wire[:300]
        if b"Access-Control-Allow-Origin" in data:
            assert answer.headers["access-control-allow-origin"] == SITE, wire[:300]
            assert not answer.body or answer.code in ("CPX-162", "CPX-163", "CPX-164", "CPX-167", "CPX-168"), wire[:300]
    assert (doctor.apdus, doctor.dialogs()) == (apdus, dialogs)
    assert memory(doctor) - start < 5 * 1024
    assert Path(str(doctor.lab.folder), "daemon.log").read_text() == ""
    assert doctor.ask("GET", "/v1/info").status == 200


def test_websockets_of_strangers(doctor: ApiLab) -> None:
    key = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Content-Type": None}
    key |= {
        "Sec-WebSocket-Key": base64.b64encode(b"k" * 16).decode(),
        "Sec-WebSocket-Protocol": "cpxd.v1",
        "Content-Length": None,
    }
    wrong: tuple[dict[str, str | None], ...] = (
        {"Origin": "https://evil.example"},
        {"Origin": None},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Sec-WebSocket-Protocol": None},
        {"Sec-WebSocket-Protocol": "chat"},
        {"Sec-Fetch-Site": "none"},
    )
    for change in wrong:
        with doctor.tls() as channel:
            channel.sendall(request(doctor.port, key | change, body="", method="GET", path="/v1/events"))
            answer = parse(everything(channel))
        assert answer.status in (403, 421), change
    right: dict[str, str | None] = {
        "X-Cpxd": None,
        "Sec-Fetch-Site": None,
        "Sec-Fetch-Mode": "websocket",
        "Sec-Fetch-Dest": "websocket",
    }
    with doctor.tls() as channel:
        channel.sendall(request(doctor.port, key | right, body="", method="GET", path="/v1/events"))
        assert channel.recv(4096).startswith(b"HTTP/1.1 101")
    for change in ({"Sec-WebSocket-Version": "99"}, {"Sec-WebSocket-Key": "k"}, {"Connection": "close"}):
        with doctor.tls() as channel:
            channel.sendall(request(doctor.port, key | right | change, body="", method="GET", path="/v1/events"))
            answer = parse(everything(channel))
        assert (answer.status, answer.code, answer.headers["server"]) == (400, "CPX-162", "cpxd"), change


def test_strangers_cannot_tell_that_a_card_is_there(doctor: ApiLab) -> None:
    with api_lab([None]) as empty:
        for path in ("/v1/authenticate", "/v1/readers", "/v1/nothing"):
            answers = []
            for lab in (doctor, empty):
                answer = lab.ask("POST", path, {}, {"Origin": "https://evil.example"})
                answer.headers.pop("date")
                answers.append((answer.status, answer.headers, answer.body))
            assert answers[0] == answers[1] and answers[0][0] == 403


def test_no_plain_http_and_no_old_tls(doctor: ApiLab) -> None:
    import ssl

    with doctor.tcp() as channel:
        channel.sendall(request(doctor.port, {}))
        assert b"HTTP" not in everything(channel)
    old = ssl.create_default_context(cadata=doctor.leaf())
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with old.wrap_socket(doctor.tcp(), server_hostname="localhost") as channel:
        assert channel.version() == "TLSv1.2"
    with doctor.tls("::1") as channel:
        assert channel.version() == "TLSv1.3"
    assert subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{doctor.port}", "-tls1_1", "-cipher", "ALL@SECLEVEL=0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    ).returncode


def test_only_the_loopback_listens(doctor: ApiLab) -> None:
    listed = subprocess.run(["ss", "-Hltn", f"sport = :{doctor.port}"], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split()[3].rpartition(":")[0] for line in listed.splitlines()) == ["127.0.0.1", "[::1]"]


def descriptors(lab: ApiLab) -> int:
    return len(list(Path(f"/proc/{lab.daemon.process.pid}/fd").iterdir()))


def test_who_connects_and_says_nothing(doctor: ApiLab) -> None:
    """A thousand connections, some after their handshake: the unix socket answers meanwhile, all are left in a few seconds."""
    doctor.ask("GET", "/v1/info")
    before, start = descriptors(doctor), memory(doctor)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(doctor.tls())
        for number in range(1000):
            with contextlib.suppress(ConnectionResetError):  # there are enough already
                stack.enter_context(doctor.tcp(("127.0.0.1", "::1")[number % 2]))
        assert doctor.ask("GET", "/v1/info", native=True).status == 200
        for _ in range(100):
            stack.enter_context(doctor.unix())
        limit = time.monotonic() + 30
        while descriptors(doctor) > before + 2:
            assert time.monotonic() < limit
            time.sleep(0.2)
        assert doctor.ask("GET", "/v1/info").status == doctor.ask("GET", "/v1/info", native=True).status == 200
    assert memory(doctor) - start < 12 * 1024  # more than 128 at once; 37 MiB would stay if large buffers did


@pytest.mark.parametrize("small", ['"k%d":0', '"k%d":[]'])
def test_a_million_small_things_are_refused_before_they_are_made(doctor: ApiLab, small: str) -> None:
    body = "{" + ",".join(small % number for number in range(1_000_000)) + "}"
    start = memory(doctor)
    with doctor.tls() as channel:
        answer = parse_answer(channel, request(doctor.port, {}, body=body, path="/v1/sign"))
    assert (answer.status, answer.code) == (400, "CPX-162")
    assert memory(doctor) - start < 5 * 1024


def test_without_a_descriptor_left_it_waits(doctor: ApiLab) -> None:
    """It does not spin meanwhile, and goes on by itself."""
    doctor.ask("GET", "/v1/info")
    pid = doctor.daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(doctor), hard))
    try:
        with doctor.tcp() as waiting:
            used = processor(pid)
            time.sleep(2)
            assert processor(pid) - used < 0.3
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            waiting.settimeout(20)
            assert doctor.ask("GET", "/v1/info").status == 200
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def processor(pid: int) -> float:
    """Seconds that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_one_site_cannot_take_all_listeners(doctor: ApiLab) -> None:
    wanted: dict[str, str | None] = {"Content-Type": None, "Content-Length": None}
    line = {"method": "GET", "path": "/v1/events"}
    with contextlib.ExitStack() as stack:
        heads = []
        for _ in range(12):
            channel = stack.enter_context(doctor.tls())
            channel.sendall(request(doctor.port, wanted, body="", **line))
            heads.append(channel.recv(15))
        assert [head.split()[1] for head in heads] == [b"200"] * 8 + [b"429"] * 4
        program = stack.enter_context(doctor.unix())
        program.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert program.recv(15).startswith(b"HTTP/1.1 200")


def test_no_renegotiation(doctor: ApiLab) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{doctor.port}", "-tls1_2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as asking:
        assert asking.stdin is not None and asking.stdout is not None
        heard = b""
        while b"Extended master secret" not in heard:
            heard += asking.stdout.read1(4096)  # type: ignore[attr-defined]
        asking.stdin.write(b"R\n")
        asking.stdin.flush()
        assert b"no renegotiation" in asking.stdout.read()


def test_slow_heads_are_cut(doctor: ApiLab) -> None:
    """Slowloris: whoever does not finish a request head is left."""
    started = time.monotonic()
    with doctor.tls() as channel:
        channel.sendall(b"GET /v1/info HTTP/1.1\r\nHost: ")
        assert everything(channel) == b"" and 3 < time.monotonic() - started < 12


def test_rate_limit() -> None:
    with api_lab([None]) as lab, lab.tls() as channel:
        wire = request(
            lab.port,
            {"Connection": "keep-alive", "Content-Type": None, "Content-Length": None},
            "",
            method="GET",
            path="/v1/info",
        )
        channel.sendall(wire * 100)
        found = b""
        while found.count(b"HTTP/1.1 ") < 100:
            found += channel.recv(65536)
        assert 60 <= found.count(b"HTTP/1.1 200") < 90 and found.count(b"HTTP/1.1 429") >= 10


FOREIGN = r"""
import socket, sys
heard = 0
for n in range(int(sys.argv[2])):
    address = ("127.0.0.1", "::1", "::ffff:127.0.0.1")[n % 3]
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(20)
        try:
            s.connect((address, int(sys.argv[1])))
            s.sendall(b"GET /v1/info HTTP/1.1\r\n\r\n" if n % 4 else bytes.fromhex("16030100050100000100"))
            while data := s.recv(4096):
                heard += len(data)
        except OSError:
            pass
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.connect(sys.argv[3])
        heard += 1 << 20
    except OSError:
        pass
print(heard)
"""


def test_other_users_hear_nothing(doctor: ApiLab) -> None:
    apdus, unix = doctor.apdus, Path(doctor.lab.env["XDG_RUNTIME_DIR"], "cpxd", "api.sock")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-c", FOREIGN]
    done = subprocess.run(
        [*command, str(doctor.port), "10000", str(unix)], capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout == "0\n"
    assert doctor.apdus == apdus and unix.stat().st_mode & 0o777 == 0o600
    assert doctor.ask("GET", "/v1/info").status == 200


@pytest.mark.parametrize(("address", "asked"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::ffff:127.0.0.1")])
def test_the_kernel_names_the_user(address: str, asked: str) -> None:
    from cpxd.api import peer

    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listening:
        listening.bind((address, 0))
        listening.listen()
        client = socket.create_connection((asked, listening.getsockname()[1]))
        server, _ = listening.accept()
        times = []
        for _ in range(200):
            started = time.perf_counter()
            assert peer.tcp_uid(server) == os.getuid()
            times.append(time.perf_counter() - started)
        assert sorted(times)[100] < 0.001
        client.close()
        assert peer.tcp_uid(server) is None  # nobody any more: root's number is not to be had by leaving
        server.close()
