# SPDX-License-Identifier: Apache-2.0
"""exercise.c, a hostile and a busy host, under the sanitizers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import module_p11 as p11
import pytest
from module_stock import SOURCES, Stock

HERE = Path(__file__).parent


def compile_host(target: Path, sanitizer: str) -> Path:
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    command = ["clang", "-std=c11", "-g", "-O1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    subprocess.run([*command, f"-I{SOURCES}", str(HERE / "exercise.c"), *sources, "-o", str(target)], check=True)
    return target


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_host(tmp_path_factory.mktemp("host") / "exercise", "address,undefined")


@pytest.fixture(scope="session")
def threaded_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_host(tmp_path_factory.mktemp("host") / "threads", "thread")


def run(host: Path, what: str, stock: Stock) -> list[tuple[str, str, int]]:
    done = subprocess.run([str(host), what], env=stock.environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return [(stage, name, int(rv, 16)) for stage, name, rv in re.findall(r"^(\w+) (C_\w+) 0x(\w+)$", done.stdout, re.M)]


# With a valid session and NULL or 0 for all the rest, these are right; everything else must be an error.
RIGHT_WITHOUT_ARGUMENTS = {"C_CloseSession", "C_CloseAllSessions", "C_FindObjectsInit", "C_Logout"}
BEFORE_INITIALIZE = {"C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"}
NOTHING_TO_POINT_AT = {  # no pointer is required, or a NULL one has a meaning
    "C_CancelFunction": p11.FUNCTION_NOT_PARALLEL,
    "C_GetFunctionStatus": p11.FUNCTION_NOT_PARALLEL,
    "C_InitPIN": 0x101,
    "C_DestroyObject": p11.OBJECT_HANDLE_INVALID,
    "C_FindObjectsFinal": 0x091,
    "C_DigestKey": 0x091,
    "C_SessionCancel": p11.OPERATION_CANCEL_FAILED,
    "C_LoginUser": p11.FUNCTION_NOT_SUPPORTED,
}


def test_every_function_with_nothing_and_with_wrong_handles(host: Path, stock: Stock) -> None:
    lines = run(host, "nulls", stock)
    assert len([line for line in lines if line[0] == "null"]) >= 85
    for stage, name, rv in lines:
        if stage in ("uninitialized", "finalized"):
            assert rv == (p11.ARGUMENTS_BAD if name in BEFORE_INITIALIZE else p11.NOT_INITIALIZED), (stage, name)
        elif stage == "wrong" and name != "C_CloseAllSessions":
            assert rv != p11.OK, (stage, name)
        elif stage == "session":
            message = "Message" in name
            expected = p11.OK if name in RIGHT_WITHOUT_ARGUMENTS else p11.ARGUMENTS_BAD
            expected = p11.FUNCTION_NOT_SUPPORTED if message else NOTHING_TO_POINT_AT.get(name, expected)
            assert rv == expected, (stage, name, hex(rv))


def test_what_a_host_does_and_the_corners_of_buffers(host: Path, stock: Stock) -> None:
    run(host, "work", stock)


def test_threads_share_the_connection(threaded_host: Path, stock: Stock) -> None:
    run(threaded_host, "threads", stock)
