# SPDX-License-Identifier: Apache-2.0
"""An examination for a person, for a program, and for support."""

from __future__ import annotations

import json
import platform
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from cpxd import log
from cpxd.doctor.checks import FAMILIES
from cpxd.doctor.engine import Examination
from cpxd.doctor.machine import Machine
from cpxd.doctor.model import MARKS, Finding
from cpxd.text import Text, tr
from cpxd.version import __version__

_INDENT = " " * 10
UNTOUCHED = Text("Aucun essai de code n'a été consommé par ce diagnostic.", "No try of a code was spent by this diagnosis.")


def lines(found: Examination, *, everything: bool = False, width: int | None = None) -> Iterator[str]:
    """Causes first, each with its fix; then the verdict. `width`: of a terminal; what is to be pasted is never broken."""
    causes = found.causes
    shown = [*causes, *(f for f in found.findings if f.status == "info" and f.family != "daemon")]
    if everything:
        shown += [f for f in found.findings if f not in shown and f.status != "skipped"]
    for finding in shown:
        yield from _finding(finding, width)
    if not causes:
        yield tr("Tout va bien : carte et poste sont prêts.", "All is well: card and workstation are ready.")
    else:
        first = causes[0]
        more = len(causes) - 1
        others = tr(f" ; {more} autre(s) ensuite", f"; {more} more after it") if more else ""
        yield tr(f"Verdict : traitez d'abord {first.code}{others}.", f"Verdict: deal with {first.code} first{others}.")
    yield str(UNTOUCHED)


def _finding(finding: Finding, width: int | None) -> Iterator[str]:
    verdict = f" [{int(finding.verdict)}]" if finding.trouble else ""
    yield from _fitting(f"{finding.code or '       '} {MARKS[finding.status]} {finding.title}{verdict}", width)
    if str(finding.cause):
        yield from _fitting(f"{_INDENT}{finding.cause}", width)
    if finding.fix is not None:
        line = f"        → {finding.fix.value}"
        yield from [line] if finding.fix.kind == "command" else _fitting(line, width)


def _fitting(line: str, width: int | None) -> list[str]:
    if width is None or len(line) <= width:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=_INDENT, break_on_hyphens=False)


def as_json(found: Examination) -> dict[str, Any]:
    causes = found.causes
    return {
        "version": __version__,
        "verdict": int(found.verdict),
        "first_cause": causes[0].code if causes else None,
        "causes": [finding.code for finding in causes],
        "checks": [finding.as_json() for finding in found.findings],
        "seconds": round(found.seconds, 3),
        "codes_spent": 0,
    }


def catalogue() -> Iterator[str]:
    """The checks there are, with their codes (`--list`)."""
    for family in FAMILIES:
        yield str(family.title)
        for check in family.checks:
            yield f"  {check.name:<12} {check.title} ({', '.join(check.codes)})"


# --- the bundle -----------------------------------------------------------------------------------------------------

_LOG_LINES = 200


def bundle(found: Examination, machine: Machine, secrets: set[str]) -> bytes:
    """What support needs, and nothing of a person. `secrets`: what must not be in it whatever the checks say."""
    content = {
        **as_json(found),
        "system": {
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "distribution": _distribution(machine),
            "systemd": machine.systemd,
        },
        "log": log.tail(_LOG_LINES),
    }
    content["checks"] = [check for check in content["checks"] if check["status"] != "skipped"]
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return redact(text, machine, secrets).encode()


def redact(text: str, machine: Machine, secrets: set[str]) -> str:
    """Without home folder, and without the given words wherever they stand, whatever their case."""
    text = text.replace(str(machine.home), "~")
    user = machine.home.name
    if user not in ("", "root"):
        text = re.sub(rf"(?<=/){re.escape(user)}(?=[/\"])", "USER", text)
    for word in sorted((s for s in secrets if len(s) > 2), key=len, reverse=True):
        text = re.sub(re.escape(word), "***", text, flags=re.IGNORECASE)
    text = re.sub(r"\((utilisateur|user) [^)]*\)", r"(\1 ***)", text)
    text = re.sub(r"\((?=[A-Za-z]*\d)[0-9A-Za-z]{6,}\)", "(***)", text)  # a reader's serial number stands so in its name
    return re.sub(r"\b\d{8,}\b", "***", text)


def _distribution(machine: Machine) -> str:
    for line in machine.text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "?"
