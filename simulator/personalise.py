# SPDX-License-Identifier: Apache-2.0
"""From a persona to the image of a card: files, keys, codes. What of it is invented is told in INVENTED.md.

File identifiers that real cards are known to use: 5031, 5032, 7001, 7002, 7005, A001, D107, D120 to D12F; the others are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from .image import Access, DedicatedFile, ElementaryFile, Image, Key, Model, Path, Pin
from .personas import Persona
from .pki import Credential, TestPki, Usage
from .profile import data, pkcs15

ATRS: dict[Model, bytes] = {
    "cps3": bytes.fromhex("3BAC00402A001225006480000310009000"),
    "cps3cl": bytes.fromhex("3B8F80010031B86404B0ECC1739401808290000E"),
    "cps4": bytes.fromhex("3B9B188001001225006480040100009044"),
}
_ATR_CPS2TER = bytes.fromhex("3BAC00402A001225006480820212009000")

_ODF, _CIA, _AODF, _PRKDF, _CDF, _DODF = 0x5031, 0x5032, 0x7001, 0x7002, 0x7005, 0x7007
_CERTIFICATE_FILES: dict[Usage, int] = {"signature": 0xA001, "authentication": 0xA006, "technical": 0xA009}
_CERTIFICATE_LABELS: dict[Usage, str] = {
    "signature": "Certificat de Signature CPS",
    "authentication": "Certificat d'Authentification CPS",
    "technical": "Certificat Technique CPS",
}
_DATA, _ID_CARD, _NAME, _LANGUAGES, _PROFESSION = 0xD107, 0xD108, 0xD109, 0xD10A, 0xD10B
_SITUATIONS = 0xD120
_CPS2TER, _BILLING, _CPS2TER_SITUATIONS = 0xD130, 0xD138, 0xD140  # on CPS4 alone
_SIZE_DATA, _SIZE_NAME, _SIZE_LANGUAGES = 128, 160, 32
_DIRECTORY_UNIT = 16

# By usage: the number that ends the identifier of key and certificate, the reference in the PrKDF, the reference for the card.
_KEYS: dict[Model, dict[Usage, tuple[int, int, int]]] = {
    "cps3": {"signature": (0x01, 0x81, 1), "authentication": (0x02, 0x82, 2)},
    "cps3cl": {"technical": (0x03, 0x83, 3)},
    "cps4": {"signature": (0x10, 0x10, 0x10), "authentication": (0x20, 0x20, 0x20)},
}
_PROFILES: dict[Model, tuple[str, str]] = {  # label in EF.CIAInfo, date of the profile
    "cps3": ("CPS3v3-{number}", "20100316110000Z"),
    "cps3cl": ("CPS3v3_CL", "20100316110000Z"),
    "cps4": ("CPS4v1-{number}", "20191105090000Z"),
}


@dataclass(frozen=True)
class _Folder:
    """Where a set of files goes, and whether the contactless interface shows them."""

    path: Path
    contactless: bool

    def file(
        self,
        number: int,
        content: bytes,
        *,
        read: Access = Access.ALWAYS,
        update: Access = Access.NEVER,
        size: int | None = None,
    ) -> ElementaryFile:
        path = (*self.path, number)
        return ElementaryFile(path, content, size=size, read=read, update=update, contactless=self.contactless)


def personalise(persona: Persona, model: Model, *, pki: TestPki | None = None) -> Image:
    """The card of a persona, of that model, as delivered on the day of `pki` (None: a TestPki of this day, in its usual folder).

    Raises PkiError when the test PKI cannot be made.
    """
    pki = pki or TestPki()
    credentials = pki.issue_all(persona, model)
    chip = persona.card.serial_cps4 if model == "cps4" else persona.card.serial_cps3
    files = [
        ElementaryFile((0x2F00,), pkcs15.application_directory(), sfi=0x1E),
        ElementaryFile((0x2F01,), pkcs15.EF_ATR, sfi=0x1D),
        ElementaryFile((0xD003,), pkcs15.serial_number(chip), sfi=0x1C),
    ]
    if model == "cps4":
        files += _contact(persona, "cps4", pki, credentials)
    else:
        if persona.card.update is not None:
            files.append(ElementaryFile((0xD010,), pkcs15.update_marker(complete=persona.card.update == "complete")))
        files += _contact(persona, "cps3", pki, credentials)
        files += _contactless(persona, credentials)
    return Image(
        model=model,
        atr=ATRS[model],
        label=_label(persona, model),
        files=tuple(files),
        directories=(
            DedicatedFile((0x0001,), pkcs15.CONTACT_AID),
            DedicatedFile((0x0002,), pkcs15.CONTACTLESS_AID, contactless=True),
        ),
        keys=tuple(Key(reference, usage, credentials[usage].key) for usage, (_, _, reference) in _KEYS[model].items()),
        pins=() if model == "cps3cl" else _pins(persona, model),
        cps2ter={} if model == "cps3cl" else _cps2ter(persona),
    )


def _label(persona: Persona, model: Model) -> str:
    return _PROFILES[model][0].format(number=persona.card.number)


def _information(persona: Persona, model: Model) -> bytes:
    return pkcs15.card_information(_label(persona, model), _PROFILES[model][1])


def _contact(persona: Persona, model: Model, pki: TestPki, credentials: dict[Usage, Credential]) -> list[ElementaryFile]:
    """DF 0001: what the contact interface shows."""
    folder = _Folder((0x0001,), contactless=False)
    keys = _KEYS[model]
    objects, entries = _data_objects(persona, model, pki, folder)
    directory, size = pkcs15.padded(entries, _DIRECTORY_UNIT)
    private_keys = pkcs15.signature_key(*keys["signature"][:2]) + pkcs15.authentication_key(*keys["authentication"][:2])
    return [
        folder.file(_ODF, pkcs15.object_directory((0xA0, _PRKDF), (0xA4, _CDF), (0xA7, _DODF), (0xA8, _AODF))),
        folder.file(_CIA, _information(persona, model)),
        folder.file(_AODF, pkcs15.AODF),
        folder.file(_PRKDF, private_keys),
        folder.file(_CDF, _certificate_directory(model)),
        folder.file(_DODF, directory, size=size),
        *(folder.file(_CERTIFICATE_FILES[usage], credentials[usage].certificate) for usage in keys),
        *objects,
    ]


def _contactless(persona: Persona, credentials: dict[Usage, Credential]) -> list[ElementaryFile]:
    """DF 0002 of a CPS3: one technical key, no code, no data objects. In contact it can be selected, not read."""
    folder = _Folder((0x0002,), contactless=True)
    number, reference, _ = _KEYS["cps3cl"]["technical"]
    return [
        folder.file(_ODF, pkcs15.object_directory((0xA0, _PRKDF), (0xA4, _CDF))),
        folder.file(_CIA, _information(persona, "cps3cl")),
        folder.file(_PRKDF, pkcs15.technical_key(number, reference)),
        folder.file(_CDF, _certificate_directory("cps3cl")),
        folder.file(_CERTIFICATE_FILES["technical"], credentials["technical"].certificate),
    ]


def _certificate_directory(model: Model) -> bytes:
    return b"".join(
        pkcs15.certificate(_CERTIFICATE_LABELS[usage], number, _CERTIFICATE_FILES[usage])
        for usage, (number, _, _) in _KEYS[model].items()
    )


def _data_objects(persona: Persona, model: Model, pki: TestPki, folder: _Folder) -> tuple[list[ElementaryFile], list[bytes]]:
    """The data object files and their DODF entries."""
    files = [
        folder.file(_ID_CARD, data.card(persona, pki.today)),
        folder.file(_NAME, name := data.name(persona), size=max(_SIZE_NAME, len(name))),
        folder.file(_LANGUAGES, spoken := data.languages(persona), size=max(_SIZE_LANGUAGES, len(spoken))),
        folder.file(_PROFESSION, data.profession(persona)),
        folder.file(_DATA, b"", size=_SIZE_DATA, update=Access.ALWAYS),
    ]
    entries = [
        pkcs15.data_object("CPS_ID_CARD", _ID_CARD),
        pkcs15.data_object("CPS_NAME_PS", _NAME),
        pkcs15.data_object("CPS_LANG_PS", _LANGUAGES),
        pkcs15.data_object("CPS_INFO_PS", _PROFESSION),
        pkcs15.data_object("CPS_DATA", _DATA, modifiable=True),
    ]

    def add(label: str, number: int, content: bytes, *, private: bool) -> None:
        read = Access.PIN if private else Access.ALWAYS
        files.append(folder.file(number, content, read=read))
        entries.append(pkcs15.data_object(label, number, private=private))

    for practice in persona.situations:
        number = _SITUATIONS + practice.number - 1
        add(f"CPS_ACTIVITY_{practice.number:02}_PS", number, data.situation(practice), private=True)
    if model == "cps4":
        for number, (label, value) in enumerate(_cps2ter_objects(persona).items(), _CPS2TER):
            add(label, number, data.cps2ter(value), private=False)
        for practice in persona.situations:
            number = _CPS2TER_SITUATIONS + practice.number - 1
            add(f"CPS2TER_ACTIVITY_{practice.number:02}_PS", number, data.situation(practice), private=True)
        if persona.billing is not None:
            add("CPS_SIT_FACT", _BILLING, data.billing(persona.billing), private=True)
    return files, entries


def _cps2ter_objects(persona: Persona) -> dict[str, str | bytes]:
    holder = persona.holder
    return {
        "CPS2TER_ATR": _ATR_CPS2TER,
        "CPS2TER_ID": persona.card.number,
        "CPS2TER_ICC": persona.card.serial_cps4,
        "CPS2TER_NAME": holder.family_name or holder.pseudonym or "",
        "CPS2TER_LANG": holder.languages[0],
        "CPS2TER_PSINFO": holder.identifier,
        "CPS2TER_DIRAMO": bytes([persona.billing.situation if persona.billing is not None else 0]),
    }


def _cps2ter(persona: Persona) -> dict[int, bytes]:
    """The view of class A0: situations in 4010 to 401F, the billing situation in 4000."""
    files = {0x4010 + practice.number - 1: data.situation(practice) for practice in persona.situations}
    if persona.billing is not None:
        files[0x4000] = data.billing(persona.billing)
    return files


def _pins(persona: Persona, model: Model) -> tuple[Pin, ...]:
    codes = persona.codes
    uses = codes.unblock_uses_left if model == "cps3" else None
    return (
        Pin(1, codes.pin.encode(), max_tries=3, tries_left=codes.pin_tries_left),
        Pin(2, codes.unblock.encode(), max_tries=10, tries_left=codes.unblock_tries_left, uses_left=uses),
    )
