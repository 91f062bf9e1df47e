# SPDX-License-Identifier: Apache-2.0
"""`cpx-sim serve`: a lab that a test drives from any language, over an AF_UNIX socket.

One JSON object a line each way. A request has "do"; the answer has "ok", and with it what was asked, or "error" in two
languages. Requests of several connections are carried out one after the other. docs/INTEGRATORS.md has them all.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from simulator import faults, personalise, personas, source, tracemodel
from simulator.cardos import VirtualCard, make_card
from simulator.errors import InputError, LabError, SimulatorError, UsageError, unusable
from simulator.image import Model
from simulator.lab import Lab
from simulator.personas import Persona, PersonaError
from simulator.personas.model import Revocation, RevocationReason
from simulator.pki import PkiError, TestPki

MAX_LINE = 1 << 16
_CODES = {"pin": "1", "unblock": "2"}


@dataclass
class _Holder:
    """Whose card is in a slot; None: not made of a persona."""

    persona: Persona | None
    model: Model
    card: VirtualCard


class Control:
    """The requests, without a socket. Not thread-safe."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.stopping = False
        self._holders: dict[int, _Holder] = {}
        self._people: dict[str, Persona] = {}
        self._requests: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "status": self._status,
            "insert": self._insert,
            "remove": self._remove,
            "swap": self._insert,
            "block": self._block,
            "expire": self._expire,
            "revoke": self._revoke,
            "fault": self._fault,
            "keys": self._keys,
            "stop": self._stop,
        }

    def answer(self, line: bytes) -> dict[str, Any]:
        """To one request; never raises."""
        try:
            request = json.loads(line)
            do = request.get("do") if isinstance(request, dict) else None
            if not isinstance(do, str) or do not in self._requests:
                known = ", ".join(self._requests)
                raise UsageError(f"« do » parmi : {known}", f'"do" is one of: {known}')
            return {"ok": True, **self._requests[do](request)}
        except SimulatorError as error:
            return _failed(error.french, error.english)
        except (PersonaError, PkiError) as error:
            return _failed(error.french, error.english)
        except (ValueError, RecursionError):
            return _failed("ce n'est pas du JSON", "no JSON")

    # -- requests ------------------------------------------------------------------------------------------------

    def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        shown = self.lab.shown()
        slots = []
        for slot, reader in enumerate(shown):
            holder = self._holders.get(slot) if reader.present else None
            named = holder.persona.name if holder and holder.persona else None
            tries = holder.card.state()["codes"] if holder else {}
            slots.append(
                {
                    "reader": reader.name,
                    "present": reader.present,
                    "persona": named,
                    "model": holder.model if holder else None,
                    "tries_left": {name: tries[code]["tries_left"] for name, code in _CODES.items() if code in tries},
                    "commands": self.lab.card(slot).apdu_count if holder else 0,
                }
            )
        return {"slots": slots}

    def _insert(self, request: dict[str, Any]) -> dict[str, Any]:
        """A new card of a persona; `swap` is the same, in a slot that has one."""
        slot, spec = _slot(request), _text(request, "card")
        if request["do"] == "swap":
            self._holder(slot)
        name, model = source.split(spec)
        fault = _text(request, "fault", "") or None
        if fault is not None:
            faults.parse(fault)
        if name in tracemodel.NAMES:
            made = source.make(spec)
            return self._put(slot, _Holder(None, model, cast(VirtualCard, made)), fault)
        return self._put(slot, self._made(personas.load(name), model), fault)

    def _remove(self, request: dict[str, Any]) -> dict[str, Any]:
        slot = _slot(request)
        self.lab.remove(slot)
        self._holders.pop(slot, None)
        return {"slot": slot}

    def _block(self, request: dict[str, Any]) -> dict[str, Any]:
        """The card comes back with no try left of that code."""
        slot, code = _slot(request), _text(request, "code", "pin")
        if code not in _CODES:
            raise UsageError("« code » : pin ou unblock", '"code": pin or unblock')
        holder = self._holder(slot)
        state = holder.card.state()
        if _CODES[code] not in state["codes"]:
            raise UsageError("cette carte n'a pas de code", "this card has no code")
        state["codes"][_CODES[code]]["tries_left"] = 0
        if holder.persona is None:
            raise UsageError("cette carte n'est pas celle d'un persona", "this card is of no persona")
        return self._put(slot, self._made(holder.persona, holder.model, state))

    def _expire(self, request: dict[str, Any]) -> dict[str, Any]:
        """The same holder's card, valid until `days` from today (default -1: yesterday)."""
        persona, holder, slot = self._person(request)
        days = request.get("days", -1)
        if type(days) is not int or not -1095 <= days <= 1095:
            raise UsageError("« days » : de -1095 à 1095", '"days": -1095 to 1095')
        card = dataclasses.replace(persona.card, expires_in_days=days)
        return self._put(slot, self._made(dataclasses.replace(persona, card=card), holder.model, holder.card.state()))

    def _revoke(self, request: dict[str, Any]) -> dict[str, Any]:
        """The same holder's card, on the published lists."""
        persona, holder, slot = self._person(request)
        reason, days = _text(request, "reason", "keyCompromise"), request.get("days_ago", 0)
        if reason not in get_args(RevocationReason) or type(days) is not int or not 0 <= days <= 1095:
            reasons = ", ".join(get_args(RevocationReason))
            raise UsageError(f"« reason » : {reasons} ; « days_ago » : 0 à 1095", f'"reason": {reasons}; "days_ago": 0 to 1095')
        revocation = Revocation(days, cast(RevocationReason, reason))
        return self._put(slot, self._made(dataclasses.replace(persona, revocation=revocation), holder.model, holder.card.state()))

    def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        slot = _slot(request)
        self.lab.card(slot).set_fault(_text(request, "fault", "") or None)
        return {"slot": slot}

    def _keys(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is typed on the PIN pad, entry by entry."""
        entries = request.get("entries", [])
        if not isinstance(entries, list) or not all(isinstance(e, str) and e.isascii() and e.isdigit() for e in entries):
            raise UsageError("« entries » : des chiffres", '"entries": digits')
        self.lab.type_keys(*entries)
        return {}

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        self.stopping = True
        return {}

    # -- inside --------------------------------------------------------------------------------------------------

    def _made(self, persona: Persona, model: Model, state: dict[str, Any] | None = None) -> _Holder:
        pki = TestPki(source.key_folder())
        card = make_card(personalise.personalise(persona, model, pki=pki), state)
        self._people[persona.name] = persona
        if "CPX_SIM_PKI" in self.lab.env:
            known = [personas.load(name) for name in personas.names() if name not in self._people]
            pki.export(self.lab.env["CPX_SIM_PKI"], [*known, *self._people.values()])
        return _Holder(persona, model, card)

    def _put(self, slot: int, holder: _Holder, fault: str | None = None) -> dict[str, Any]:
        self.lab.insert(slot, holder.card, fault)
        self._holders[slot] = holder
        return {"slot": slot, "atr": holder.card.atr.hex().upper()}

    def _holder(self, slot: int) -> _Holder:
        if slot not in self._holders:
            raise LabError(f"pas de carte dans la fente {slot}", f"no card in slot {slot}")
        return self._holders[slot]

    def _person(self, request: dict[str, Any]) -> tuple[Persona, _Holder, int]:
        slot = _slot(request)
        holder = self._holder(slot)
        if holder.persona is None:
            raise UsageError("cette carte n'est pas celle d'un persona", "this card is of no persona")
        return holder.persona, holder, slot


def _failed(french: str, english: str) -> dict[str, Any]:
    return {"ok": False, "error": {"fr": french, "en": english}}


def _line(answer: dict[str, Any]) -> bytes:
    """An answer may repeat what was asked, half a character included."""
    return json.dumps(answer, ensure_ascii=False).encode(errors="replace") + b"\n"


def _slot(request: dict[str, Any]) -> int:
    slot = request.get("slot", 0)
    if type(slot) is not int or not 0 <= slot < 16:
        raise UsageError("« slot » : de 0 à 15", '"slot": 0 to 15')
    return slot


def _text(request: dict[str, Any], key: str, default: str | None = None) -> str:
    value = request.get(key, default)
    if not isinstance(value, str):
        raise UsageError(f"« {key} » : un texte", f'"{key}": a string')
    return value


def _remove_dead(path: Path) -> None:
    """A socket that a server has left which was killed."""
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)


class Server:
    """The socket. `close` ends it; so does a "stop" request."""

    def __init__(self, control: Control, path: Path) -> None:
        self.path = path
        self.stopped = threading.Event()
        self._control = control
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_dead(path)
            mask = os.umask(0o177)  # the owner's alone, from the first moment
            try:
                self._socket.bind(str(path))
            finally:
                os.umask(mask)
            self._socket.listen(16)
        except OSError as error:
            self._socket.close()
            raise unusable(path, error) from None
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        self.stopped.set()
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), name="control-client", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as requests:
            try:
                while line := requests.readline(MAX_LINE):
                    if not line.endswith(b"\n"):
                        return
                    with self._lock:
                        answer = self._control.answer(line)
                    link.sendall(_line(answer))
                    if self._control.stopping:
                        self.stopped.set()
            except OSError:
                return


def serve(cards: list[str], *, slots: int, socket_path: Path | None, pinpad: bool, say: Callable[[str], None]) -> int:
    """A lab until "stop" or a signal (which the caller has blocked; see command.hold_signals). `say` gets one line of JSON:
    "socket", "readers", "environment".
    """
    import signal

    from simulator import command

    with Lab(["cps-medecin"], slots=slots, pinpad=pinpad) as lab:  # by name: the lab then publishes its test PKI
        assert lab.folder is not None  # noqa: S101 - for the type checker: it is open
        lab.remove(0)
        control = Control(lab)
        for slot, spec in enumerate(cards):
            answer = control.answer(json.dumps({"do": "insert", "slot": slot, "card": spec}).encode())
            if not answer["ok"]:
                raise InputError(answer["error"]["fr"], answer["error"]["en"])
        server = Server(control, socket_path or lab.folder / "control")
        try:
            say(json.dumps({"socket": str(server.path), "readers": lab.readers, "environment": lab.env}, ensure_ascii=False))
            while not server.stopped.is_set():
                if signal.sigtimedwait(command.PASSED_ON, 0.1) is not None:
                    break
        finally:
            server.close()
    return 0
