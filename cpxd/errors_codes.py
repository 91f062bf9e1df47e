# SPDX-License-Identifier: Apache-2.0
"""The part of the error table (`errors.py`) that is about the PIN and the unblock code, and about who types them where."""

from __future__ import annotations

from cpxd.failure import CpxError, Exit, Fault
from cpxd.text import Text, tries


class WrongPin(CpxError):
    code, exit, fault = "CPX-120", Exit.WRONG_PIN, Fault.PERSON
    what = Text(
        "Code porteur faux. Il reste {tries} avant le blocage. Ne devinez pas.",
        "Wrong PIN. {tries} left before the card is blocked. Do not guess.",
    )

    def __init__(self, *, tries_left: int) -> None:
        super().__init__(tries=tries(tries_left))
        self.tries_left = tries_left


class KnownWrongPin(CpxError):
    code, exit, fault = "CPX-134", Exit.WRONG_PIN, Fault.PERSON
    what = Text(
        "Ce code vient d'être refusé par la carte : il n'a pas été renvoyé, aucun essai n'a été perdu.",
        "The card has just refused this PIN: it was not sent again, no try was lost.",
    )


class PinBlocked(CpxError):
    code, exit, fault = "CPX-107", Exit.PIN_BLOCKED, Fault.CARD
    what = Text(
        "Code porteur bloqué (0 essai). La carte n'est pas perdue : cpxd pin unblock, avec le code de déblocage à 8 chiffres.",
        "PIN blocked (0 tries). The card is not lost: cpxd pin unblock, with the unblock code of 8 digits.",
    )


class PinBlockedForGood(PinBlocked):
    what = Text(
        "Code porteur bloqué, et code de déblocage bloqué aussi : cette carte est inutilisable. Commandez une nouvelle carte.",
        "PIN blocked, and unblock code blocked too: this card is unusable. Order a new card.",
    )


class LastTry(CpxError):
    code, exit, fault = "CPX-106", Exit.LAST_TRY, Fault.PERSON
    what = Text(
        "Il ne reste qu'un essai : rien n'a été envoyé. Si vous êtes sûr du code, recommencez et tapez « dernier »"
        " (ou --last-try).",
        "Only one try is left: nothing was sent. If you are sure of the code, try again and type “dernier” (or --last-try).",
    )


class WrongUnblockCode(CpxError):
    code, exit, fault = "CPX-121", Exit.WRONG_UNBLOCK_CODE, Fault.PERSON
    what = Text(
        "Code de déblocage faux. Il reste {tries}, puis la carte est définitivement inutilisable.",
        "Wrong unblock code. {tries} left, then the card is unusable for good.",
    )

    def __init__(self, *, tries_left: int) -> None:
        super().__init__(tries=tries(tries_left))
        self.tries_left = tries_left


class UnblockCodeBlocked(CpxError):
    code, exit, fault = "CPX-108", Exit.UNBLOCK_CODE_BLOCKED, Fault.CARD
    what = Text(
        "Code de déblocage bloqué : cette carte ne peut plus être débloquée. Commandez une nouvelle carte.",
        "Unblock code blocked: this card cannot be unblocked any more. Order a new card.",
    )


class UnblockInterrupted(CpxError):
    code, exit, fault, retry = "CPX-135", Exit.CARD_LOST, Fault.PERSON, True
    what = Text(
        "Déblocage interrompu : l'ancien code porteur a retrouvé ses essais, le nouveau n'est sans doute pas enregistré."
        " Recommencez le déblocage.",
        "Unblocking was interrupted: the old PIN has its tries back, the new one is most likely not set. Unblock again.",
    )


class CodeUncertain(CpxError):
    code, exit, fault = "CPX-139", Exit.CARD_LOST, Fault.PERSON
    what = Text(
        "Interrompu pendant l'enregistrement du nouveau code : on ne sait pas s'il est en vigueur. Lisez « cpxd pin status »,"
        " puis essayez d'abord l'ancien code.",
        "Interrupted while the new PIN was being stored: it may or may not be set. Read “cpxd pin status”, then try the old"
        " PIN first.",
    )


class BadPinFormat(CpxError):
    code, exit, fault = "CPX-122", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "{name} : {digits} chiffres exactement. Rien n'a été envoyé à la carte, aucun essai n'a été perdu.",
        "{name}: exactly {digits} digits. Nothing was sent to the card, no try was lost.",
    )


class SamePin(CpxError):
    code, exit, fault = "CPX-136", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Le nouveau code est le même que l'ancien. Rien n'a été envoyé à la carte.",
        "The new PIN is the same as the old one. Nothing was sent to the card.",
    )


class PinsDiffer(CpxError):
    code, exit, fault = "CPX-137", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Les deux saisies du nouveau code diffèrent. Rien n'a été envoyé à la carte.",
        "The two entries of the new PIN differ. Nothing was sent to the card.",
    )


class NoPinSource(CpxError):
    code, exit, fault = "CPX-123", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Le code ne peut pas être demandé : {reason}. Utilisez un terminal, ou --pin-fd N.",
        "The PIN cannot be asked: {reason}. Use a terminal, or --pin-fd N.",
    )


class Refused(CpxError):
    code, exit, fault = "CPX-138", Exit.REFUSED, Fault.PERSON
    what = Text("Opération refusée par la personne. Rien n'a été fait.", "Refused by the person. Nothing was done.")


class PadCancelled(Refused):
    what = Text("Saisie abandonnée sur le lecteur. Aucun essai n'a été perdu.", "Entry given up on the reader. No try was lost.")


class PadTimeout(CpxError):
    code, exit, fault, retry = "CPX-180", Exit.REFUSED, Fault.PERSON, True
    what = Text(
        "Personne n'a tapé le code sur le lecteur à temps. Aucun essai n'a été perdu ; recommencez.",
        "Nobody typed the code on the reader in time. No try was lost; try again.",
    )


class PadUnable(CpxError):
    code, exit, fault = "CPX-181", Exit.BAD_INPUT, Fault.READER
    what = Text(
        "Le clavier de ce lecteur ne sait pas faire cette saisie ({digits} chiffres). Rien n'a été envoyé à la carte."
        " Pour taper les codes sur l'ordinateur : --no-pinpad.",
        "The keypad of this reader cannot take this entry ({digits} digits). Nothing was sent to the card."
        " To type the codes on the computer: --no-pinpad.",
    )


class PadRefused(CpxError):
    code, exit, fault = "CPX-182", Exit.BAD_INPUT, Fault.READER
    what = Text(
        "Le clavier du lecteur a refusé la demande (réponse {status}). Voyez « cpxd pin status ». Pour taper les codes sur"
        ' l\'ordinateur : --no-pinpad, ou [pinpad] use = "never" dans la configuration.',
        "The keypad of the reader refused the request (answer {status}). See “cpxd pin status”. To type the codes on the"
        ' computer: --no-pinpad, or [pinpad] use = "never" in the configuration.',
    )


class CodeBeingTyped(CpxError):
    code, exit, fault, retry = "CPX-183", Exit.CARD_LOST, Fault.PERSON, True
    what = Text(
        "Un code est en cours de saisie sur le lecteur, pour un autre programme. Terminez ou annulez cette saisie, puis"
        " recommencez.",
        "A code is being typed on the reader, for another program. Finish or cancel that entry, then try again.",
    )
