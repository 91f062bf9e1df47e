# SPDX-License-Identifier: Apache-2.0
"""Many at once: a host that forks while it is logged in, its children with 32 sessions each and a thread for every one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from p11_daemon import Daemon
from p11_wire import Wire

from simulator.lab import Lab

HERE = Path(__file__).parent
MODULE = HERE.parents[2] / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"
CHILDREN, SESSIONS = 8, 32


def test_eight_forks_of_one_host(lab: Lab, fresh: Daemon, client: Wire) -> None:
    command = [sys.executable, HERE / "p11_crowd.py", MODULE, str(CHILDREN), str(SESSIONS)]
    done = subprocess.run(command, env=fresh.env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    proofs = sum(command[1] == 0x20 and len(command) > 5 for command, _ in lab.card(0).trace)
    assert proofs == 1 + CHILDREN
    assert client.GetSessionInfo(client.open(0))[1] == 2, "a login is of the connection that proved the PIN"
    assert '"defect"' not in fresh.log.read_text()
