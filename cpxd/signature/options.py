# SPDX-License-Identifier: Apache-2.0
"""Which formats, levels and forms there are, and what each needs: the one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cpxd import errors
from cpxd.text import tr

Format = Literal["cms", "cades", "pades", "xades", "vihf", "smime", "jws"]
Level = Literal["b", "t", "lt", "lta"]
Form = Literal["detached", "enveloping", "enveloped"]
KeyUsage = Literal["signature", "authentication", "configured"]


@dataclass(frozen=True)
class Kind:
    """One format. `key`: which key of the card signs it. The first of `forms` is what is meant when none is said."""

    name: str
    key: KeyUsage
    levels: tuple[Level, ...]
    forms: tuple[Form, ...]
    suffixes: Mapping[Form, str]  # of the file that is written, after the document's own name
    streamed: tuple[Form, ...] = ()  # forms whose document does not have to fit in memory


_CMS_FORMS: tuple[Form, ...] = ("detached", "enveloping")
_CMS_SUFFIXES: Mapping[Form, str] = {"detached": ".p7s", "enveloping": ".p7m"}
KINDS: Mapping[Format, Kind] = {
    "cms": Kind("CMS", "signature", ("b", "t", "lt"), _CMS_FORMS, _CMS_SUFFIXES, ("detached",)),
    "cades": Kind("CAdES", "signature", ("b", "t", "lt"), _CMS_FORMS, _CMS_SUFFIXES, ("detached",)),
    "pades": Kind("PAdES", "signature", ("b", "t", "lt", "lta"), ("enveloped",), {"enveloped": ".signed.pdf"}),
    "xades": Kind(
        "XAdES",
        "signature",
        ("b", "t"),
        ("enveloped", "enveloping", "detached"),
        {"enveloped": ".signed.xml", "enveloping": ".xades.xml", "detached": ".xades.xml"},
        ("detached",),
    ),
    # which key signs a VIHF is said by no public source: [vihf] key
    "vihf": Kind("VIHF", "configured", ("b",), ("enveloped",), {"enveloped": ".xml"}),
    "smime": Kind("S/MIME", "signature", ("b", "t"), ("detached",), {"detached": ".signed.eml"}),
    "jws": Kind("JWS", "signature", ("b",), ("enveloping",), {"enveloping": ".jws"}),
}


@dataclass(frozen=True)
class Options:
    """How to sign. `form` None: the usual one of the format. `tsa`: address of the time-stamping authority, "" none."""

    format: Format = "cms"
    level: Level = "b"
    form: Form | None = None
    pss: bool = False
    visible: bool = True  # PAdES: show who signed on the last page
    tsa: str = ""

    def __post_init__(self) -> None:
        """Raises Usage for what does not go together."""
        kind = KINDS[self.format]
        if self.level not in kind.levels:
            raise _not_among(kind.name, self.level, kind.levels)
        if self.form is not None and self.form not in kind.forms:
            raise _not_among(kind.name, self.form, kind.forms)

    @property
    def kind(self) -> Kind:
        return KINDS[self.format]

    @property
    def chosen_form(self) -> Form:
        return self.form or self.kind.forms[0]

    @property
    def streamed(self) -> bool:
        return self.chosen_form in self.kind.streamed

    @property
    def suffix(self) -> str:
        return self.kind.suffixes[self.chosen_form]


def _not_among(name: str, word: str, words: tuple[str, ...]) -> errors.Usage:
    known = ", ".join(words)
    return errors.Usage(
        detail=tr(f"{name} : « {word} » impossible (au choix : {known})", f"{name}: no “{word}” (choose from {known})")
    )
