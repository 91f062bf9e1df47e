# SPDX-License-Identifier: Apache-2.0
"""`cpxd rescue`: from "it does not work" to a card that works, one question a screen, in short sentences."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from cpxd import errors
from cpxd.apdu import Secret
from cpxd.cli.common import add_reader, show_lines
from cpxd.config import load
from cpxd.dialog.secrets import LAST_WORD, ON_PAD, Terminal
from cpxd.errors import CpxError
from cpxd.text import Text, printable, tr, tries

if TYPE_CHECKING:
    from cpxd.doctor.engine import Examination
    from cpxd.doctor.machine import Machine
    from cpxd.doctor.model import Finding
    from cpxd.reader.pinpad import Ask

_TTY = "/dev/tty"
_LOST = ("CPX-108", "CPX-110", "CPX-111", "CPX-125", "CPX-130")  # nothing to do here but to order a card
_YES = ("", "o", "oui", "y", "yes")
_QUIT = ("q", "quit", "quitter")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr(
        "« ça ne marche pas » : se laisser guider, une question par écran", "“it does not work”: be guided, one question a screen"
    )
    parser = commands.add_parser("rescue", parents=[common], help=text, description=text)
    add_reader(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.doctor.machine import Machine

    return Guide(options.reader, Machine()).run()


class Screen:
    """The terminal: one page at a time, each with a number."""

    def __init__(self) -> None:
        self.number = 0
        try:
            fd = os.open(_TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            raise errors.NoPinSource(reason=tr("pas de terminal", "no terminal")) from None
        self._tty = os.fdopen(fd, "r", encoding="utf-8", errors="replace")
        self._clears = os.environ.get("TERM", "dumb") not in ("", "dumb")

    def show(self, title: Text, sentences: Iterable[Text]) -> None:
        """A new page."""
        self.number += 1
        if self._clears:
            print("\x1b[2J\x1b[H", end="")
        show_lines([tr(f"— Écran {self.number} —", f"— Screen {self.number} —"), "", str(title), ""])
        show_lines(str(sentence) for sentence in sentences if str(sentence))
        print(flush=True)

    def ask(self, question: Text) -> str:
        """What the person types. Raises Refused when they leave."""
        print(f"{question} ", end="", flush=True)
        line = self._tty.readline()
        if not line or line.strip().casefold() in _QUIT:
            raise errors.Refused()
        return printable(line).casefold()

    def wait(self) -> None:
        self.ask(Text("Entrée pour continuer, q pour quitter :", "Enter to go on, q to quit:"))


class Codes(Terminal):
    """The codes of an unblocking, each on a page of its own."""

    def __init__(self, screen: Screen, left: int) -> None:
        super().__init__(_TTY)
        self._screen, self._left, self._asked = screen, left, 0

    def ask(self, prompt: str) -> Secret:
        titles = (
            Text("Tapez le code de déblocage.", "Type the unblock code."),
            Text("Choisissez un nouveau code porteur.", "Choose a new PIN."),
            Text("Tapez encore une fois le nouveau code.", "Type the new PIN once more."),
        )
        left = tries(self._left)
        hints = (
            Text(f"Il a 8 chiffres. Il reste {left.fr}.", f"It has 8 digits. {left.en} left."),
            Text("4 chiffres, faciles à retenir pour vous seul.", "4 digits, easy to remember for you alone."),
            Text("Les deux saisies doivent être les mêmes.", "Both entries must be the same."),
        )
        labels = (
            Text("Code de déblocage (caché)", "Unblock code (hidden)"),
            Text("Nouveau code (caché)", "New PIN (hidden)"),
            Text("Encore une fois (caché)", "Once more (hidden)"),
        )
        at = min(self._asked, 2)
        self._asked += 1
        self._screen.show(titles[at], [hints[at]])
        return super().ask(str(labels[at]))

    def on_pad(self, ask: Ask) -> None:
        """The same on a reader with a keypad: what is typed there."""
        cancel = Text("La touche d'annulation du lecteur abandonne.", "The cancel key of the reader gives up.")
        left = tries(self._left)
        count = [Text(f"Il reste {left.fr}.", f"{left.en} left.")] if ask == "unblock" else []
        self._screen.show(Text("Regardez le lecteur.", "Look at the reader."), [ON_PAD[ask], *count, cancel])

    def confirm_last_try(self, what: str) -> bool:
        self._screen.show(
            Text("C'est le dernier essai.", "This is the last try."),
            [Text("Un code faux rend la carte inutilisable, pour toujours.", "A wrong code makes the card unusable, for ever.")],
        )
        word = Text(f"Tapez « {LAST_WORD} » si vous êtes sûr du code :", f"Type “{LAST_WORD}” if you are sure of the code:")
        return self._screen.ask(word).strip() == LAST_WORD


class Guide:
    """Looks, says the first cause, helps, looks again."""

    def __init__(self, reader: str | None, machine: Machine) -> None:
        self._reader, self._machine = reader, machine
        self._screen = Screen()
        self._said: list[Text] = []  # what has just been done, for the next page
        self._seen = reader  # the one that was looked at last: with several cards, one and the same all the way

    def _page(self, title: Text, sentences: Iterable[Text]) -> None:
        self._screen.show(title, [*self._said, *sentences])
        self._said = []

    def run(self) -> int:
        """Until the card works, is lost, or the person leaves; the doctor's verdict."""
        while True:
            found = self._look()
            troubles = [f for f in found.causes if f.status != "warning" or f.code == "CPX-106"]
            if not troubles:
                return self._well(found)
            first = troubles[0]
            if first.code in _LOST:
                return self._lost(first)
            if first.code in ("CPX-107", "CPX-106"):
                if not self._unblock(first):
                    return int(first.verdict)
            else:
                self._help(first)

    def _look(self) -> Examination:
        from cpxd.doctor.engine import examine
        from cpxd.doctor.visit import Options, Visit

        visit = Visit(self._machine, Options(self._reader))
        found = examine(visit)
        with contextlib.suppress(CpxError):
            self._seen = visit.place().state.name
        return found

    def _well(self, found: Examination) -> int:
        sentences = [Text("Vous pouvez vous en servir.", "You can use it.")]
        sentences += [finding.title for finding in found.causes]
        self._page(Text("Votre carte et ce poste marchent.", "Your card and this workstation work."), sentences)
        return int(found.verdict)

    def _help(self, first: Finding) -> None:
        self._page(first.title, [first.cause, *_steps(first)])
        if first.fix is not None and first.fix.automatic is not None:
            if self._screen.ask(Text("Je peux le réparer. D'accord ? [O/n]", "I can repair it. All right? [Y/n]")) in _YES:
                try:
                    first.fix.automatic()
                except OSError:
                    self._page(Text("La réparation a échoué.", "The repair failed."), _steps(first))
                    self._screen.wait()
        else:
            self._screen.wait()

    def _lost(self, first: Finding) -> int:
        self._page(first.title, [first.cause, *_steps(first)])
        return int(first.verdict)

    def _unblock(self, first: Finding) -> bool:
        """Whether it is worth looking again."""
        blocked = first.code == "CPX-107"
        question = Text("Avez-vous ce code ? [O/n]", "Do you have that code? [Y/n]")
        letter = Text("Le code de déblocage a 8 chiffres.", "The unblock code has 8 digits.")
        where = Text("Il est dans le courrier du code porteur.", "It is in the letter of the PIN.")
        self._page(first.title, [letter, where])
        if self._screen.ask(question) not in _YES:
            self._without_code(blocked)
            return False
        return self._try_codes()

    def _try_codes(self) -> bool:
        from cpxd.service import codes, desk
        from cpxd.service.codes import Consent

        try:
            with desk.OpenCard(desk.choose(self._seen).state.name, load()) as card:
                left = codes.states(card).unblock.tries_left
                asked = Codes(self._screen, left)
                state = codes.unblock(card, Consent(asked, announce=asked.on_pad))
        except errors.Refused:
            raise
        except CpxError as error:
            self._page(Text("Ce n'est pas fait.", "It is not done."), _split(error.sentence()))
            self._screen.wait()
            return not isinstance(error, errors.LastTry)
        left_now = tries(state.tries_left)
        self._said = [
            Text("C'est fait : la carte est débloquée.", "Done: the card is unblocked."),
            Text(f"La carte le confirme : {left_now.fr}.", f"The card confirms it: {left_now.en}."),
            Text("Retenez bien le nouveau code.", "Remember the new PIN well."),
        ]
        return True

    def _without_code(self, blocked: bool) -> None:
        from cpxd.doctor import contacts

        sentences = [c.words for c in contacts.contacts() if c.need == "unblock_code"]
        if blocked:
            sentences.append(contacts.ECPS)
        self._page(Text("Demandez ce code : on peut vous le renvoyer.", "Ask for that code: it can be sent again."), sentences)


def _steps(finding: Finding) -> list[Text]:
    """The fix, one thing a line."""
    if finding.fix is None:
        return []
    value = str(finding.fix.value)
    parts = [value] if finding.fix.kind == "command" else [part for piece in value.split("; ") for part in piece.split(". ")]
    return [Text(f"→ {part.strip()}", f"→ {part.strip()}") for part in parts]


def _split(sentence: str) -> list[Text]:
    return [Text(part, part) for part in sentence.replace(". ", ".\n").splitlines()]
