# SPDX-License-Identifier: Apache-2.0
"""Runs the checks and puts what they find in the order of causes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from cpxd import log
from cpxd.doctor.checks import FAMILIES
from cpxd.doctor.model import Check, Finding, Findings, Verdict, unknown
from cpxd.doctor.visit import READ_SECONDS, Visit
from cpxd.errors import CpxError
from cpxd.text import Text

_OFF_THE_CARD = frozenset(
    {
        "settings",
        "galss",
        "cache",
        "log",
        "memory",
        "daemon",
        "port",
        "certificate",
        "module",
        "profiles",
        "competitors",
        "policies",
        "lna",
        "load",
        "site",
    }
)


@dataclass(frozen=True)
class Examination:
    findings: tuple[Finding, ...]  # in the order of causes
    seconds: float

    @property
    def causes(self) -> tuple[Finding, ...]:
        """Troubles, the first cause first: errors in the order of the families, then what is unknown, then warnings."""
        rank = {"error": 0, "unknown": 1, "warning": 2}
        return tuple(sorted((f for f in self.findings if f.trouble), key=lambda f: rank[f.status]))

    @property
    def verdict(self) -> Verdict:
        """What the first cause asks for."""
        return self.causes[0].verdict if self.causes else Verdict.OK


def checks() -> Iterator[tuple[str, Check]]:
    """(family, check), in order."""
    for family in FAMILIES:
        for check in family.checks:
            yield family.name, check


def examine(visit: Visit) -> Examination:
    """All checks: those that look at the machine alone run beside those that wait for the card, needed or not in the end."""
    started = time.monotonic()
    wanted = [(family, check) for family, check in checks() if not check.slow or visit.options.browser]
    pool = ThreadPoolExecutor(3, thread_name_prefix="doctor")
    aside = {c.name: pool.submit(_run, c, visit) for _, c in wanted if c.name in _OFF_THE_CARD}
    found: list[Finding] = []
    failed: set[str] = set()
    for family, check in wanted:
        if broken := next((name for name in check.needs if name in failed), None):
            failed.add(check.name)
            mine = [_skipped(check, broken)]
        else:
            mine = _result(aside[check.name], check) if check.name in aside else _run(check, visit)
        if any(f.status == "error" or (f.status == "unknown" and check.name in ("reader", "read")) for f in mine):
            failed.add(check.name)
        found += [dataclasses.replace(f, family=family) for f in mine]
    pool.shutdown(wait=False, cancel_futures=True)
    return Examination(tuple(found), time.monotonic() - started)


def _result(future: Future[list[Finding]], check: Check) -> list[Finding]:
    try:
        return future.result(READ_SECONDS)
    except TimeoutError:
        return [_defect(check, "timeout")]


def _run(check: Check, visit: Visit) -> list[Finding]:
    try:
        return list(_findings(check, visit))
    except Exception as defect:  # one check that fails must not hide what the others see
        log.write("defect", operation=f"doctor {check.name}", error=type(defect).__name__)
        return [_defect(check, type(defect).__name__)]


def _findings(check: Check, visit: Visit) -> Findings:
    try:
        yield from check.run(visit)
    except CpxError as error:
        sentence = error.sentence()
        title = Text(f"{check.title.fr} : non examiné.", f"{check.title.en}: not examined.")
        yield unknown(check.name, error.code, title, Text(sentence, sentence))


def _defect(check: Check, what: str) -> Finding:
    title = Text(f"{check.title.fr} : ce contrôle a échoué.", f"{check.title.en}: this check failed.")
    return unknown(check.name, "CPX-199", title, Text(f"Défaut de cpxd ({what}).", f"A defect of cpxd ({what})."))


def _skipped(check: Check, because: str) -> Finding:
    title = Text(f"{check.title.fr} : sans objet pour l'instant.", f"{check.title.en}: does not apply for now.")
    return Finding(check.name, "skipped", "", title, Text("", ""), evidence=(("because", because),))
