# SPDX-License-Identifier: Apache-2.0
"""The two codes: tries left, read without spending one."""

from __future__ import annotations

from cpxd import errors
from cpxd.card.session import CodeStates
from cpxd.doctor import contacts
from cpxd.doctor.model import Check, Family, Findings, Verdict, command, error, gesture, info, ok, warning
from cpxd.doctor.visit import Visit
from cpxd.service import desk
from cpxd.text import Text, tries

_NEEDS = ("pcsc", "reader", "scdaemon", "card", "read")
_FEW_TRIES, _FEW_USES = 3, 3


def _states(visit: Visit) -> CodeStates:
    states = visit.card().codes
    if states is None:
        raise errors.ContactlessCard()
    return states


def _pin(visit: Visit) -> Findings:
    found = visit.card()
    codes = _states(visit)
    pin, unblock = codes.pin, codes.unblock
    anonymous = found.record.holder.pseudonym is not None
    if pin.blocked and unblock.blocked:
        yield error(
            "pin",
            "CPX-108",
            Text(
                "Code porteur et code de déblocage bloqués : carte inutilisable.",
                "PIN and unblock code blocked: the card is unusable.",
            ),
            Text("Rien ne peut plus la débloquer.", "Nothing can unblock it any more."),
            contacts.new_card(found.record.card.kind, anonymous=anonymous),
            verdict=Verdict.REPLACE_CARD,
        )
    elif pin.blocked:
        left = tries(unblock.tries_left)
        lost = contacts.advise("unblock_code", found.record.card.kind, anonymous=anonymous)
        yield error(
            "pin",
            "CPX-107",
            Text("Code porteur bloqué (0 essai). La carte n'est pas perdue.", "PIN blocked (0 tries). The card is not lost."),
            Text(f"Code de déblocage : {left.fr}. {_first(lost.fr)}.", f"Unblock code: {left.en}. {_first(lost.en)}."),
            command(_unblocking(visit)),
        )
    elif pin.tries_left == 1:
        yield warning(
            "pin",
            "CPX-106",
            Text("Dernier essai du code porteur.", "Last try of the PIN."),
            Text("Un code faux bloque la carte.", "A wrong PIN blocks the card."),
            gesture(
                f"Ne devinez pas ; « {_unblocking(visit)} » marche aussi, avec le code à 8 chiffres",
                f"Do not guess; “{_unblocking(visit)}” works too, with the code of 8 digits",
            ),
        )
    elif pin.tries_left == 2:
        yield info(
            "pin",
            "CPX-206",
            Text("Il reste 2 essais du code porteur.", "2 tries of the PIN are left."),
            Text("Le bon code les rend.", "The right PIN gives them back."),
        )
    else:
        yield ok("pin", f"Code porteur : {tries(pin.tries_left).fr}.", f"PIN: {tries(pin.tries_left).en}.")


def _unblocking(visit: Visit) -> str:
    return desk.command("cpxd unblock", visit.place(), visit.places())


def _first(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:].rstrip(".")


def _unblock(visit: Visit) -> Findings:
    codes = _states(visit)
    state = codes.unblock
    if state.blocked:
        if not codes.pin.blocked:
            yield warning(
                "unblock",
                "CPX-207",
                Text(
                    "Code de déblocage bloqué : la carte marche, sans secours.",
                    "Unblock code blocked: the card works, without a way back.",
                ),
                Text("Si le code porteur se bloque, la carte est perdue.", "If the PIN gets blocked, the card is lost."),
                gesture("Gardez le code porteur en lieu sûr", "Keep the PIN in a safe place"),
            )
    elif state.tries_left <= _FEW_TRIES or (state.uses_left is not None and state.uses_left <= _FEW_USES):
        uses = Text("", "") if state.uses_left is None else Text(f", {state.uses_left} utilisations", f", {state.uses_left} uses")
        left = tries(state.tries_left)
        yield warning(
            "unblock",
            "CPX-208",
            Text(f"Code de déblocage : plus que {left.fr}{uses.fr}.", f"Unblock code: only {left.en}{uses.en} left."),
            Text(
                "Un code faux de plus l'use ; épuisé, il perd la carte.",
                "Each wrong code uses it up; once gone, the card is lost.",
            ),
            gesture("N'essayez que le code écrit sur le courrier", "Try no code but the one in the letter"),
        )
    else:
        yield ok("unblock", f"Code de déblocage : {tries(state.tries_left).fr}.", f"Unblock code: {tries(state.tries_left).en}.")


FAMILY = Family(
    "codes",
    Text("Codes", "Codes"),
    (
        Check("pin", Text("Code porteur", "PIN"), ("CPX-106", "CPX-107", "CPX-108", "CPX-206"), _pin, _NEEDS),
        Check("unblock", Text("Code de déblocage", "Unblock code"), ("CPX-207", "CPX-208"), _unblock, _NEEDS),
    ),
)
