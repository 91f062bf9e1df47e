# SPDX-License-Identifier: Apache-2.0
"""`make conformance`: pkcs11-check over the module, the daemon and a simulated card, held against tools/conformance.expected.

Model softhsm2 is another comparison: SoftHSM2 directly, and the same behind Debian's `p11-kit server` and our module; no test may
end worse there than directly, but those that are listed. It takes most of an hour.

pkcs11-check needs Python 3.12 or later, which the project does not: without one on PATH nothing is run, and a line says so.
It lives in a virtual environment that ends with the run. Records stay in build/conformance.
Exit: 0 as expected or not run; 1 an unlisted failure, a crash, a timeout or a try spent; 2 it could not be run.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.cardos.card import VirtualCard
from simulator.lab import CardHandle, Lab

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "cpxd" / "pkcs11" / "module" / "libcpxd-pkcs11.so"
EXPECTED = Path(__file__).with_name("conformance.expected")
RECORDS = ROOT / "build" / "conformance"
PACKAGE = "pkcs11-check==0.2.3"
PYTHONS = ("python3.14", "python3.13", "python3.12", "python3", "python")
CARDS = ("cps3", "cps4")
STOCK = "softhsm2"
MODELS = (*CARDS, STOCK)
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
TEST_SECONDS = 60
RUN_SECONDS = 3600
_ASK = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))"
_SHOWN = ("passed", "failed", "error", "crashed", "timeout", "skipped", "xfailed")
_NEVER = ("crashed", "timeout", "crash_limited", "child_crash", "child_timeout", "incomplete")
# commands that carry a code: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (ISO 7816-4, 11.5)
_CODE_COMMANDS = (0x20, 0x24, 0x2C)


class CannotRun(Exception):
    """Why there is no result."""


@dataclass(frozen=True)
class Expected:
    """A test that fails for a reason. models: where. pattern: of its name, without parameters."""

    models: frozenset[str]
    pattern: str
    reason: str

    def covers(self, model: str, name: str) -> bool:
        return model in self.models and fnmatch.fnmatchcase(name.partition("[")[0], self.pattern)


def read_expected(path: Path) -> list[Expected]:
    """Lines `MODEL[,MODEL] PATTERN REASON`; empty ones and those that begin with # are skipped. Raises CannotRun."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words or words[0].startswith("#"):
            continue
        models = frozenset(words[0].split(","))
        if len(words) != 3 or not models <= set(MODELS):
            raise CannotRun(f"{path.name}, line {number}: MODEL[,MODEL] PATTERN REASON")
        found.append(Expected(models, words[1], words[2]))
    return found


def find_python() -> str | None:
    """The first on PATH that is new enough and really runs: a version manager's shim may stand for nothing."""
    for name in PYTHONS:
        for folder in os.get_exec_path():
            program = shutil.which(name, path=folder)
            if program and _runs(program):
                return program
    return None


def _runs(program: str) -> bool:
    try:
        return subprocess.run([program, "-c", _ASK], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def install(python: str, folder: Path) -> Path:
    """pkcs11-check in a virtual environment in this folder. Raises CannotRun."""
    venv: list[str | Path] = [python, "-m", "venv", folder]
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", PACKAGE]
    for command in (venv, pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"{PACKAGE}: {(done.stderr or done.stdout).strip()[-500:]}")
    return folder / "bin" / "pkcs11-check"


def check(program: Path, environment: Mapping[str, str], model: str, module: Path = MODULE) -> dict[str, Any]:
    """The results as pkcs11-check writes them. One process a file of tests, its fast profile. Raises CannotRun."""
    results, log = RECORDS / f"{model}.json", RECORDS / f"{model}.log"
    results.unlink(missing_ok=True)
    command: list[str | Path] = [
        program,
        "test",
        "--module",
        module,
        "--skip-slow",
        "--isolation",
        "file",
        "--ignore-disabled-tests",
    ]
    command += ["--timeout", str(TEST_SECONDS), "--output", "json", "--output-file", results]
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as output:  # it litters where it stands
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            raise CannotRun(f"no end after {RUN_SECONDS} s, see {log}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    try:
        found: dict[str, Any] = json.loads(results.read_bytes())
        found["summary"], found["units"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotRun(f"exit {process.returncode} without results, see {log}") from error
    return found


def bad_tests(results: Mapping[str, Any]) -> list[str]:
    """`file::class::test[parameters]` of all that neither passed nor was skipped nor was expected by the suite itself."""
    good = ("passed", "skipped", "xfailed")
    return sorted(
        {
            # before its "::" stands a path that depends on where pytest believes to be
            unit["target"].rpartition("/testcases/")[2] + "::" + test["nodeid"].partition("::")[2]
            for unit in results["units"]
            for test in unit.get("tests", ())
            if test["outcome"] not in good
        }
    )


def tries(card: VirtualCard) -> dict[str, int]:
    return {reference: code["tries_left"] for reference, code in card.state()["codes"].items()}


def refused_codes(handle: CardHandle) -> int:
    """Codes that the card refused, those a right one made good again included."""
    return sum(
        sent[1] in _CODE_COMMANDS and len(sent) > 5 and (answer[-2:-1] == b"\x63" or answer[-2:] in (b"\x69\x83", b"\x69\x84"))
        for sent, answer in handle.trace
    )


def counts(results: Mapping[str, Any]) -> str:
    return ", ".join(f"{results['summary'][name]} {name}" for name in _SHOWN)


def show_reasons(model: str, bad: Iterable[str], listed: Iterable[Expected]) -> list[str]:
    """Print why these are bad. Those that are not listed."""
    bad, mine = list(bad), [expected for expected in listed if model in expected.models]
    reasons = Counter(next((e.reason for e in mine if e.covers(model, name)), "") for name in bad)
    unlisted = [name for name in bad if not any(e.covers(model, name) for e in mine)]
    for reason, count in reasons.most_common():
        print(f"  {count:4} {reason or 'NOT EXPECTED'}")
    for name in unlisted:
        print(f"       {name}")
    for expected in mine:
        if not any(expected.covers(model, name) for name in bad):
            print(f"  listed, and does not happen: {expected.pattern}")
    return unlisted


def report(model: str, results: Mapping[str, Any], listed: Iterable[Expected], spent: int) -> bool:
    """Print it. True: nothing but what is listed."""
    summary, bad = results["summary"], bad_tests(results)
    print(f"{model}: {counts(results)}; {spent} tries of the codes spent")
    unlisted = show_reasons(model, bad, listed)
    worst = [name for name in _NEVER if summary.get(name)]
    if worst:
        print(f"  not to be had at all: {', '.join(f'{name} {summary[name]}' for name in worst)}")
    lost = summary["failed"] + summary["error"] - len(bad)
    if lost:
        print(f"  {lost} failures without a name")
    return not (unlisted or worst or lost or spent) and summary["passed"] > 0


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "P11TEST_", "VIRTUAL_ENV"))}


@contextlib.contextmanager
def softhsm(folder: Path) -> Iterator[dict[str, str]]:
    """A new token, and a `p11-kit server` for it: the environment of who uses either. Raises CannotRun."""
    (folder / "tokens").mkdir(parents=True)
    settings, path = folder / "softhsm2.conf", folder / "socket"
    settings.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", "utf-8")
    environment = clean_environment() | {
        "SOFTHSM2_CONF": str(settings),
        "CPXD_PKCS11_SOCKET": str(path),
        "CPXD_NO_START": "1",
        "P11TEST_PIN": "1234",
        "P11TEST_SO_PIN": "12345678",
    }
    make = ["softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", "1234", "--so-pin", "12345678"]
    if subprocess.run(make, env=environment, capture_output=True, check=False).returncode:
        raise CannotRun("softhsm2-util makes no token")
    serve = ["p11-kit", "server", "-f", "--name", str(path), "--provider", str(SOFTHSM), "pkcs11:"]
    with subprocess.Popen(serve, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 10
            while not path.exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise CannotRun("p11-kit server does not come up")
                time.sleep(0.01)
            yield environment
        finally:
            server.kill()  # its children, one for each connection, end with their connections


def compare(program: Path, listed: Iterable[Expected]) -> bool:
    """SoftHSM2 directly, and behind the stock server and our module. True: nothing worse but what is listed. Raises CannotRun."""
    results = {}
    for way, module in (("direct", SOFTHSM), ("module", MODULE)):
        with tempfile.TemporaryDirectory() as folder, softhsm(Path(folder)) as environment:
            results[way] = check(program, environment, f"{STOCK}-{way}", module)
    for way, found in results.items():
        print(f"{STOCK}, {way}: {counts(found)}")
    worse = set(bad_tests(results["module"])) - set(bad_tests(results["direct"]))
    crashed = [name for name in ("crashed", "crash_limited", "child_crash") if results["module"]["summary"].get(name)]
    return not show_reasons(STOCK, sorted(worse), listed) and not crashed


def run(program: Path, model: str, listed: Iterable[Expected]) -> bool:
    """With one card, as new. Raises CannotRun."""
    if model == STOCK:
        return compare(program, listed)
    with Lab([f"cps-medecin:{model}"], slots=1, daemon=True) as lab:
        handle = lab.card(0)
        if not isinstance(handle.card, VirtualCard):
            raise CannotRun("no counters on this card")
        before = tries(handle.card)
        environment = clean_environment() | lab.env | {"CPXD_NO_START": "1", "P11TEST_PIN": "1234"}
        results = check(program, environment, model)
        lost = sum(count - tries(handle.card)[reference] for reference, count in before.items())
        return report(model, results, listed, max(lost, refused_codes(handle)))


def main() -> int:
    parser = argparse.ArgumentParser(description="pkcs11-check over the module and a simulated card.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"{', '.join(MODELS)} (default: {' '.join(CARDS)})")
    models = parser.parse_args().models or list(CARDS)
    if not set(models) <= set(MODELS):
        parser.error(f"MODEL: {', '.join(MODELS)}")
    python = find_python()
    if python is None:
        print("conformance: not run, no Python >= 3.12 on PATH")
        return 0
    RECORDS.mkdir(parents=True, exist_ok=True)
    try:
        listed = read_expected(EXPECTED)
        cache = os.environ.get("XDG_CACHE_HOME") or RECORDS
        with tempfile.TemporaryDirectory(prefix="venv-", dir=cache) as folder:
            program = install(python, Path(folder))
            return int(not all([run(program, model, listed) for model in models]))
    except CannotRun as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
