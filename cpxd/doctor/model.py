# SPDX-License-Identifier: Apache-2.0
"""What a check is, what it finds, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

from cpxd.text import Text

if TYPE_CHECKING:
    from cpxd.doctor.visit import Visit

Status = Literal["ok", "info", "warning", "error", "skipped", "unknown"]
FixKind = Literal["command", "phone", "web", "physical"]
MARKS: dict[Status, str] = {"ok": "✓", "info": "i", "warning": "!", "error": "✗", "skipped": "-", "unknown": "?"}


class Verdict(IntEnum):
    """Exit codes of `cpxd doctor` (stable): what the first cause asks for."""

    OK = 0
    WARNING = 1
    USER = 2
    ADMIN = 3
    REPLACE_CARD = 4
    UNKNOWN = 5


@dataclass(frozen=True)
class Fix:
    """What to do. `value` is a command to paste, a number, an address or a gesture; `automatic`: `--fix` may run it."""

    kind: FixKind
    value: Text
    automatic: Callable[[], None] | None = None


def command(line: str, automatic: Callable[[], None] | None = None) -> Fix:
    return Fix("command", Text(line, line), automatic)


def gesture(french: str, english: str) -> Fix:
    return Fix("physical", Text(french, english))


@dataclass(frozen=True)
class Finding:
    """One answer of one check. `evidence`: what was seen, by name; never a person, an identifier or a serial number."""

    check: str
    status: Status
    code: str
    title: Text
    cause: Text
    fix: Fix | None = None
    verdict: Verdict = Verdict.OK
    evidence: tuple[tuple[str, str], ...] = ()
    family: str = ""

    @property
    def trouble(self) -> bool:
        return self.status in ("warning", "error", "unknown")

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.check,
            "family": self.family,
            "status": self.status,
            "code": self.code,
            "title": str(self.title),
            "detail": str(self.cause),
            "fix": None if self.fix is None else {"kind": self.fix.kind, "value": str(self.fix.value)},
            "verdict": int(self.verdict),
            "evidence": dict(self.evidence),
            "texts": {"fr": self._texts(0), "en": self._texts(1)},
        }

    def _texts(self, language: int) -> dict[str, Any]:
        fix = None if self.fix is None else {"kind": self.fix.kind, "value": self.fix.value[language]}
        return {"title": self.title[language], "detail": self.cause[language], "fix": fix}


Findings = Iterable[Finding]


@dataclass(frozen=True)
class Check:
    """`needs`: names of checks; when one of them found an error this one is a consequence, and is skipped."""

    name: str
    title: Text
    codes: tuple[str, ...]
    run: Callable[[Visit], Findings]
    needs: tuple[str, ...] = ()
    slow: bool = False  # only when it is asked for by an option


@dataclass(frozen=True)
class Family:
    name: str
    title: Text
    checks: tuple[Check, ...]


def ok(check: str, french: str, english: str, **evidence: object) -> Finding:
    return Finding(check, "ok", "", Text(french, english), Text("", ""), evidence=_plain(evidence))


def info(check: str, code: str, title: Text, cause: Text, **evidence: object) -> Finding:
    return Finding(check, "info", code, title, cause, evidence=_plain(evidence))


def warning(
    check: str,
    code: str,
    title: Text,
    cause: Text,
    fix: Fix | None = None,
    *,
    verdict: Verdict = Verdict.WARNING,
    **evidence: object,
) -> Finding:
    return Finding(check, "warning", code, title, cause, fix, verdict, _plain(evidence))


def error(
    check: str, code: str, title: Text, cause: Text, fix: Fix, *, verdict: Verdict = Verdict.USER, **evidence: object
) -> Finding:
    return Finding(check, "error", code, title, cause, fix, verdict, _plain(evidence))


def unknown(check: str, code: str, title: Text, cause: Text, fix: Fix | None = None, **evidence: object) -> Finding:
    return Finding(check, "unknown", code, title, cause, fix, Verdict.UNKNOWN, _plain(evidence))


def _plain(evidence: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in evidence.items())
