# SPDX-License-Identifier: Apache-2.0
"""The trusted dialogs: a pinentry program asks the person; what is typed goes from its pipe into a Secret, in C.

One dialog is open at a time, whoever asks (`turn`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cpxd import errors
from cpxd._apdu_ffi import lib
from cpxd.card.application import Code
from cpxd.card.pin import check_format
from cpxd.dialog import assuan, program
from cpxd.dialog.secrets import LAST_WORD, ON_PAD
from cpxd.dialog.turn import Turn
from cpxd.reader.pinpad import Ask
from cpxd.secret import Secret, SecretError
from cpxd.text import Text, tr

_ENTRIES = 3  # times that a code of the wrong form is asked again: the card knows nothing of it
_GRACE = 1.0  # seconds for a pinentry to notice its own timeout before we do: it then gives the terminal back
_AS_MARKUP = str.maketrans({"<": "‹", ">": "›", "«": "'", "»": "'", "“": "'", "”": "'"})  # Qt shows what looks like HTML as HTML
_NAME = 60  # characters of a program's or a card's name
_NOTHING = Text("", "")
_LOST = {
    Code.PIN: Text("un code faux bloque la carte", "a wrong PIN blocks the card"),
    Code.UNBLOCK: Text("un code faux rend la carte définitivement inutilisable", "a wrong code makes the card unusable for good"),
}
_CANCEL = Text("_Annuler", "_Cancel")
_BUTTONS = {
    "GETPIN": (Text("_Valider", "_OK"), _CANCEL),
    "CONFIRM": (Text("_Oui", "_Yes"), Text("_Non", "_No")),
    "MESSAGE": (_CANCEL, _CANCEL),  # it has the first one alone
}


@dataclass(frozen=True)
class Question:
    """The texts of one dialog."""

    title: Text
    description: Text
    prompt: Text
    error: Text = _NOTHING


class Pinentry(Turn):
    """Asks for codes. All methods raise Refused (cancelled, or `stop` called), NoPinSource (nowhere to ask, no answer, a
    pinentry that fails)."""

    def pin(self, who: str, what: str, tries_left: int | None = None, *, error: str = "") -> Secret:
        """The PIN of the card `what` for the program `who`: 4 digits, else BadPinFormat after three entries."""
        question = Question(
            title=Text("Code porteur", "PIN"),
            description=_lines(
                Text(f"« {_name(who)} » demande votre code porteur.", f"“{_name(who)}” asks for your PIN."),
                _card(what),
                _tries(tries_left, _LOST[Code.PIN]),
            ),
            prompt=Text("Code (4 chiffres) :", "PIN (4 digits):"),
            error=Text(error, error),
        )
        with self._turn() as deadline:
            return self._code(Code.PIN, question, deadline)

    def unblock_code(self, who: str, what: str, tries_left: int | None = None, *, error: str = "") -> Secret:
        """The unblock code: 8 digits, else BadPinFormat after three entries."""
        question = Question(
            title=Text("Code de déblocage", "Unblock code"),
            description=_lines(
                Text(f"« {_name(who)} » demande le code de déblocage.", f"“{_name(who)}” asks for the unblock code."),
                _card(what),
                _tries(tries_left, _LOST[Code.UNBLOCK]),
            ),
            prompt=Text("Code (8 chiffres) :", "Code (8 digits):"),
            error=Text(error, error),
        )
        with self._turn() as deadline:
            return self._code(Code.UNBLOCK, question, deadline)

    def new_pin(self, who: str, what: str) -> Secret:
        """A new PIN, typed twice. Raises BadPinFormat, PinsDiffer after three rounds."""
        first = Question(
            title=Text("Nouveau code porteur", "New PIN"),
            description=_lines(
                Text(f"« {_name(who)} » demande un nouveau code porteur.", f"“{_name(who)}” asks for a new PIN."), _card(what)
            ),
            prompt=Text("Nouveau code (4 chiffres) :", "New PIN (4 digits):"),
        )
        again = replace(first, prompt=Text("Encore une fois :", "Once more:"))
        with self._turn() as deadline:
            for _ in range(_ENTRIES):
                new = self._code(Code.PIN, first, deadline)
                try:
                    with self._secret(again, deadline) as repeated:
                        if repeated.equals(new):
                            return new
                except BaseException:
                    new.wipe()
                    raise
                new.wipe()
                first = replace(first, error=Text("Les deux saisies diffèrent.", "The two entries differ."))
        raise errors.PinsDiffer()

    def secret(self, who: str, prompt: str) -> Secret:
        """Whatever is asked by `prompt`, of any form."""
        question = Question(
            title=Text("Carte", "Card"),
            description=Text(f"« {_name(who)} » demande :\n{_plain(prompt)}", f"“{_name(who)}” asks for:\n{_plain(prompt)}"),
            prompt=Text("Code :", "Code:"),
        )
        with self._turn() as deadline:
            return self._secret(question, deadline)

    def confirm_last_try(self, who: str, what: str, code: Code = Code.PIN) -> bool:
        """Whether the person typed the word "dernier" to use the last try of a code."""
        question = Question(
            title=Text("Dernier essai", "Last try"),
            description=_lines(
                Text(f"« {_name(who)} » va utiliser le dernier essai.", f"“{_name(who)}” is about to use the last try."),
                _card(what),
                _tries(1, _LOST[code]),
                Text(
                    f"Tapez le mot « {LAST_WORD} » pour continuer. Ne tapez pas de code ici.",
                    f"Type the word “{LAST_WORD}” to go on. Do not type a code here.",
                ),
            ),
            prompt=Text("Mot :", "Word:"),
        )
        with self._turn() as deadline, self._secret(question, deadline) as typed:
            return typed.equals_word(LAST_WORD.encode())

    def confirm(self, text: str) -> bool:
        """Yes or no. Closing the dialog is no; no answer in time is NoPinSource."""
        question = Question(Text("Confirmation", "Confirmation"), Text(_plain(text), _plain(text)), _NOTHING)
        with self._turn() as deadline:
            answer = self._ask(question, "CONFIRM", None, deadline)
        if answer in (assuan.CANCELLED, assuan.FULLY_CANCELLED, assuan.NOT_CONFIRMED):
            return False
        self._check(answer)
        return True

    def on_pad(self, who: str, what: str, ask: Ask, tries_left: int | None = None) -> None:
        """Say what is to be typed on the reader, until `stop`. Raises Refused when the person closes it.

        It takes nothing from the person, so it takes no turn from the dialogs that do.
        """
        code = Code.UNBLOCK if ask == "unblock" else Code.PIN
        question = Question(
            title=Text("Clavier du lecteur", "Keypad of the reader"),
            description=_lines(
                Text(f"« {_name(who)} » demande un code.", f"“{_name(who)}” asks for a code."),
                ON_PAD[ask],
                _card(what),
                _tries(tries_left, _LOST[code]),
            ),
            prompt=_NOTHING,
        )
        self._check(self._ask(question, "MESSAGE", None, time.monotonic() + self._settings.dialog_timeout))
        raise errors.Refused()

    def _code(self, code: Code, question: Question, deadline: float) -> Secret:
        for left in range(_ENTRIES, 0, -1):
            secret = self._secret(question, deadline)
            try:
                check_format(code, secret)
                return secret
            except errors.BadPinFormat:
                secret.wipe()
                if left == 1:
                    raise
            wrong = Text(f"{code.digits} chiffres exactement.", f"Exactly {code.digits} digits.")
            question = replace(question, error=wrong)
        raise AssertionError("not reached")

    def _secret(self, question: Question, deadline: float) -> Secret:
        secret = Secret()
        answer = self._ask(question, "GETPIN", secret, deadline)
        if answer != lib.APDU_E_PIN:  # too long for a secret: as good as empty
            self._check(answer)
        return secret

    def _ask(self, question: Question, wanted: str, secret: Secret | None, deadline: float) -> int:
        chosen = program.choose(self._settings.dialog_pinentry, self._hints)
        left = deadline - time.monotonic()
        if left <= 0:
            return int(lib.APDU_E_TIMEOUT)
        talk = assuan.Conversation(
            program=chosen,
            environment=self._hints.environment(),
            commands=self._commands(question, wanted, max(1, int(left))),
            deadline=deadline + _GRACE,
            wake=self._wake,
        )
        try:
            with self._hints.terminal_kept():
                return assuan.ask(talk, secret)
        except (OSError, SecretError) as error:
            raise errors.NoPinSource(reason=f"{chosen}, {error}") from None

    def _commands(self, question: Question, wanted: str, seconds: int) -> list[bytes]:
        def say(text: Text) -> str:
            return text.en if self._hints.language == "en" else text.fr

        yes, no = _BUTTONS[wanted]
        told = [assuan.command(f"OPTION {name}={value}", may_fail=True) for name, value in self._hints.options()]
        told += [
            assuan.command("OPTION no-grab" if wanted == "MESSAGE" else "OPTION grab", may_fail=True),
            assuan.command(f"SETTIMEOUT {seconds}", may_fail=True),
            assuan.command("SETTITLE", f"cpxd – {say(question.title)}", may_fail=True),
            assuan.command("SETDESC", say(question.description)),
            assuan.command("SETOK", say(yes), may_fail=True),
            assuan.command("SETCANCEL", say(no), may_fail=True),
        ]
        if wanted == "GETPIN":
            told.append(assuan.command("SETPROMPT", say(question.prompt)))
        if say(question.error):
            told.append(assuan.command("SETERROR", say(question.error)))
        return [*told, assuan.command(wanted)]

    def _check(self, answer: int) -> None:
        if answer in (assuan.CANCELLED, assuan.FULLY_CANCELLED, assuan.NOT_CONFIRMED, lib.APDU_E_CANCELLED):
            raise errors.Refused()
        if answer in (assuan.TIMED_OUT, lib.APDU_E_TIMEOUT):
            reason = tr("personne n'a répondu à temps", "nobody answered in time")
        elif answer == lib.APDU_E_EOF:
            reason = tr("pinentry s'est arrêté", "pinentry stopped")
        elif answer > 0:
            reason = tr(f"pinentry a échoué, erreur {answer}", f"pinentry failed, error {answer}")
        elif answer != 0:
            reason = tr("pinentry répond n'importe quoi", "what pinentry answers makes no sense")
        else:
            return
        raise errors.NoPinSource(reason=reason)


class Dialog:
    """A person in front of a dialog, as a CodeSource."""

    def __init__(self, pinentry: Pinentry, who: str) -> None:
        self._pinentry = pinentry
        self._who = who

    def ask(self, prompt: str) -> Secret:
        return self._pinentry.secret(self._who, prompt)

    def confirm_last_try(self, what: str) -> bool:
        return self._pinentry.confirm_last_try(self._who, what)

    def confirm_new(self, prompt: str, new: Secret) -> None:
        with self.ask(prompt) as again:
            if not again.equals(new):
                raise errors.PinsDiffer()


class OnPad:
    """For a command without a terminal: a dialog that says what to type on the reader. `closed`: called if a person closes it."""

    def __init__(self, make: Callable[[], Pinentry], who: str, closed: Callable[[], None]) -> None:
        self._make = make
        self._who = who
        self._closed = closed
        self._open: Pinentry | None = None
        self._thread: threading.Thread | None = None

    def __call__(self, ask: Ask) -> None:
        self.close()
        self._open = self._make()
        self._thread = threading.Thread(target=self._show, args=(self._open, ask), daemon=True)
        self._thread.start()

    def close(self) -> None:
        pinentry, self._open = self._open, None
        if pinentry is not None and self._thread is not None:
            pinentry.stop()
            self._thread.join()

    def _show(self, pinentry: Pinentry, ask: Ask) -> None:
        try:
            pinentry.on_pad(self._who, "", ask)
        except errors.NoPinSource:
            pass  # the reader asks all the same
        except errors.Refused:
            if pinentry is self._open:
                self._closed()


def _name(name: str) -> str:
    short = " ".join(_plain(name).split())
    return short if len(short) <= _NAME else short[: _NAME - 1] + "…"


def _plain(text: str) -> str:
    return text.translate(_AS_MARKUP)


def _card(what: str) -> Text:
    return Text(f"Carte : {_name(what)}", f"Card: {_name(what)}") if what else _NOTHING


def _tries(left: int | None, last: Text) -> Text:
    if left is None:
        return _NOTHING
    if left == 1:
        return Text(f"Dernier essai : {last.fr}.", f"Last try: {last.en}.")
    return Text(f"Essais restants : {left}", f"Tries left: {left}")


def _lines(*texts: Text) -> Text:
    return Text("\n".join(t.fr for t in texts if t.fr), "\n".join(t.en for t in texts if t.en))
