# SPDX-License-Identifier: Apache-2.0
"""Who a virtual card was made for: what a persona file says, checked and typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

Kind = Literal["CPS", "CPF", "CPE", "CDE", "CPA", "CDA"]
RevocationReason = Literal["keyCompromise", "cessationOfOperation", "affiliationChanged", "superseded", "unspecified"]

Category = Literal["test", "real"]

VALIDITY_YEARS = 3


class PersonaError(ValueError):
    """A persona that does not exist or a persona file that cannot be used. `str()` is the French sentence."""

    def __init__(self, french: str, english: str) -> None:
        super().__init__(french)
        self.french = french
        self.english = english


Update = Literal["complete", "interrupted"]


@dataclass(frozen=True)
class Card:
    number: str  # 10 digits, printed on the card, in its label and certificates
    serial_cps3: str  # 8 digits of the chip, in EF.SN.ICC
    serial_cps4: str
    expires_in_days: int  # counted from the day of generation; negative: already expired
    update: Update | None = None  # what EF_ACTUA of a CPS3 says; None: it has none

    def valid_until(self, today: date) -> date:
        return today + timedelta(days=self.expires_in_days)

    def valid_from(self, today: date) -> date:
        until = self.valid_until(today)
        try:
            return until.replace(year=until.year - VALIDITY_YEARS)
        except ValueError:  # 29 February
            return until.replace(year=until.year - VALIDITY_YEARS, day=28)


@dataclass(frozen=True)
class Holder:
    """Codes are those of the tables named; None: the card does not say it."""

    identifier: str  # PS_IdNat with its type digit (G08)
    languages: tuple[str, ...]  # G00
    title: str | None = None  # G03
    family_name: str | None = None
    given_names: str | None = None
    professional_name: str | None = None
    pseudonym: str | None = None  # of a service card, instead of the names
    profession: str | None = None  # G15
    future_profession: str | None = None  # G16
    specialty: str | None = None  # R01
    pharmacist_table: str | None = None  # G05
    responsibility_level: str | None = None  # G04


@dataclass(frozen=True)
class Organization:
    """The employer, in the subject of the certificates of CPE, CDE, CPA and CDA."""

    name: str
    identifier: str  # Struct_IdNat with its type digit (G07)
    department: str  # "Paris (75)"


@dataclass(frozen=True)
class Situation:
    number: int  # 1 to 16, gaps allowed between situations
    mode: str  # G17
    status: str
    sector: str  # R02
    organization_name: str
    organization_identifier: str
    pharmacist_table: str | None = None


@dataclass(frozen=True)
class Billing:
    """What the health insurance wrote for a liberal practice (CPS_SIT_FACT)."""

    situation: int
    identifier: str  # 9 digits, the last one its key
    convention: str  # G101
    specialty: str  # G100
    tariff_zone: str  # G102, within the convention
    travel_zone: str  # G103
    approvals: tuple[str, str, str]  # G104
    may_sign_invoice: bool
    may_sign_batch: bool


@dataclass(frozen=True)
class Codes:
    """The secret codes of a test card at delivery, and what is left of their tries."""

    pin: str
    unblock: str
    pin_tries_left: int
    unblock_tries_left: int
    unblock_uses_left: int


@dataclass(frozen=True)
class Revocation:
    days_ago: int
    reason: RevocationReason


@dataclass(frozen=True)
class Persona:
    name: str
    description_fr: str
    description_en: str
    kind: Kind
    card: Card
    holder: Holder
    situations: tuple[Situation, ...]
    codes: Codes
    organization: Organization | None = None
    billing: Billing | None = None
    revocation: Revocation | None = None
    # Some real cards hold certificates whose signature BIT STRING states a wrong number of unused bits.
    odd_signature_bits: bool = False
    # The authentication certificate allows keyEncipherment: mails can be encrypted for it. None seen on real cards.
    key_encipherment: bool = field(default=False, repr=False)
    # Cards of the same set hold the same key pairs, which saves making them; None: keys of its own.
    key_set: str | None = None
    # What certificates and data say the card is (table G01); a test authority issues it all the same.
    category: Category = "test"

    @property
    def anonymous(self) -> bool:
        """A service card, which names nobody ("CPE non nominative")."""
        return self.holder.pseudonym is not None
