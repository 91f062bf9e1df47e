# SPDX-License-Identifier: Apache-2.0
"""Many `cpxd` commands in one process, which saves starting Python for each: sign_lines.py PIN, lines of arguments as JSON on
standard input; each gets the PIN by a descriptor of its own. The exit codes, as JSON, on standard output.
"""

from __future__ import annotations

import json
import os
import sys

from cpxd.cli.main import main


def run(words: list[str], pin: str) -> int:
    reading, writing = os.pipe()
    os.write(writing, f"{pin}\n".encode())
    os.close(writing)
    try:
        return main([*words, "--pin-fd", str(reading)])
    finally:
        os.close(reading)


if __name__ == "__main__":
    lines = json.load(sys.stdin)
    answer, sys.stdout = sys.stdout, sys.stderr
    json.dump([run(line, sys.argv[1]) for line in lines], answer)
