# SPDX-License-Identifier: Apache-2.0
"""The command cpx-sim. What a command needs is imported when that command runs."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from simulator.arguments import choose_language, cut, parser, tr
from simulator.errors import InputError, SimulatorError, UsageError, reason

_BAD_INPUT = 40
_INTERNAL = 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, 2 usage, 40 bad input, 70 internal; for `lab`, that of the command."""
    _complete_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    own, command = cut(words)
    choose_language(own)
    try:
        options = parser().parse_args(own)
        if options.name != "lab" and command is not None:
            raise UsageError("« -- COMMANDE » ne va qu'avec lab", "'-- COMMAND' goes with lab only")
        options.command = command
        status = _COMMANDS[options.name](options)
        sys.stdout.flush()
        return status
    except SimulatorError as error:
        _complain(tr(error.french, error.english))
        return int(getattr(error, "status", error.exit_code))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:  # files are handled where they are used: what is left is our own output
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        french, english = reason(error)
        _complain(tr(f"sortie standard : {french}", f"standard output: {english}"))
        return _BAD_INPUT
    except Exception as error:
        _complain(tr("erreur interne : ", "internal error: ") + f"{type(error).__name__}: {error}")
        return _INTERNAL


def _complete_streams() -> None:
    """Python has no stream object where the caller closed the descriptor, and a strict one where the locale is poor."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # kept open
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"cpx-sim: {' '.join(line.split())}", file=sys.stderr)


def _personas(options: argparse.Namespace) -> int:
    from simulator import personas

    names = [*personas.names(), *(personas.catalogue_names() if options.all else ())]
    people = [personas.load(name) for name in names]
    if options.json:
        import json

        print(json.dumps([_described(p) for p in people], ensure_ascii=False, indent=2))
    else:
        width = max(len(p.name) for p in people)
        for p in people:
            print(f"{p.name:{width}}  {p.kind}  {tr(p.description_fr, p.description_en)}")
    return 0


def _described(p: object) -> dict[str, object]:
    from simulator.personas import Persona

    assert isinstance(p, Persona)  # noqa: S101 - for the type checker: personas is imported late
    return {
        "name": p.name,
        "kind": p.kind,
        "description": {"fr": p.description_fr, "en": p.description_en},
        "card_number": p.card.number,
        "identifier": p.holder.identifier,
        "family_name": p.holder.family_name,
        "given_names": p.holder.given_names,
        "situations": [s.number for s in p.situations],
        "revoked": p.revocation is not None,
        "expires_in_days": p.card.expires_in_days,
        "pin": p.codes.pin,
        "unblock_code": p.codes.unblock,
    }


def _run(options: argparse.Namespace) -> int:
    import signal

    from simulator import faults, source, transport
    from simulator.timing import delay_model
    from simulator.tracefile import TraceWriter

    plan = faults.parse(options.fault) if options.fault is not None else ()
    card = source.make(f"{options.persona}:{options.model}", state_file=options.state)
    trace = TraceWriter(options.trace) if options.trace is not None else None
    where = options.slot if options.slot is not None else ":".join(map(str, options.vpcd))
    try:
        link = transport.connect_slot(options.slot) if options.slot is not None else transport.connect_vpcd(*options.vpcd)
    except OSError as error:
        raise InputError(f"pas de lecteur à {where}", f"no reader at {where} ({error.strerror})") from None

    def taken() -> None:
        print(tr(f"carte insérée : {options.persona}, {where}", f"card inserted: {options.persona}, {where}"), file=sys.stderr)

    settings = transport.Options(trace=trace, delay=delay_model(options.timing, card.atr), faults=plan, on_taken=taken)
    session = transport.Session(card, link, settings)
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        session.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        session.run()
    finally:
        if trace is not None:
            trace.close()
    if not stopped:
        print(tr("carte retirée", "card removed"), file=sys.stderr)
    return 0


def _lab(options: argparse.Namespace) -> int:
    if not options.command:
        raise UsageError("il manque « -- COMMANDE »", "'-- COMMAND' is missing")
    from simulator import command, faults, source
    from simulator.pcscd import MAX_SLOTS
    from simulator.usb import Terminal

    usb = [Terminal(name, count) for name, count in options.usb]
    slots = sum(count for _, count in options.usb) or options.slots or max(1 if options.galss else 4, len(options.card))
    if len(options.card) > slots or slots > MAX_SLOTS:
        given = len(options.card)
        raise UsageError(
            f"cartes : {given}, lecteurs : {slots} ({MAX_SLOTS} au plus)",
            f"cards: {given}, readers: {slots} (at most {MAX_SLOTS})",
        )
    if options.vpcd and options.pinpad:
        raise UsageError("vpcd n'a pas de clavier", "vpcd has no PIN pad")
    if options.galss and (options.vpcd or options.pinpad):
        raise UsageError("--galss : ni --vpcd ni --pinpad", "--galss: neither --vpcd nor --pinpad")
    if usb and (options.vpcd or options.galss or options.slots):
        raise UsageError("--usb : ni --slots, ni --vpcd, ni --galss", "--usb: neither --slots nor --vpcd nor --galss")
    if options.pad_pin and not options.pinpad:
        raise UsageError("--pad-pin va avec --pinpad", "--pad-pin goes with --pinpad")
    for slot, spec in options.fault:
        if slot >= len(options.card):
            raise UsageError(f"--fault : pas de carte {slot}", f"--fault: no card {slot}")
        faults.parse(spec)
    kept = [source.state_name(spec) for spec in options.card]
    if options.state is not None and len(set(kept)) < len(kept):
        raise UsageError("--state : deux fois la même carte", "--state: the same card twice")
    command.hold_signals()
    from simulator.lab import Lab
    from simulator.transport import Pad

    with Lab(
        options.card,
        slots=slots,
        pinpad=options.pinpad,
        vpcd=options.vpcd,
        galss=options.galss,
        usb=usb,
        trace=options.trace,
        state_dir=options.state,
        timing=options.timing,
        faults=dict(options.fault),
        pad=Pad(options.pad_pin),
        daemon=options.daemon,
        dialog_pin=options.dialog_pin,
        api_port=options.api_port,
        api_consent=options.api_consent,
    ) as lab:
        status = command.run(options.command, {**os.environ, **lab.env})
        for error in lab.errors():
            _complain(tr(error.french, error.english) if isinstance(error, SimulatorError) else repr(error))
    return status


def _pki(options: argparse.Namespace) -> int:
    from simulator import source

    source.export_pki(options.folder)
    return 0


def _psc(options: argparse.Namespace) -> int:
    from simulator.psc import command

    return command.run(options)


def _make(options: argparse.Namespace) -> int:
    from simulator import kit

    return kit.run(options, english=tr("", "en") == "en")


def _serve(options: argparse.Namespace) -> int:
    from simulator import command, server

    command.hold_signals()

    def say(line: str) -> None:
        print(line, flush=True)

    return server.serve(options.card, slots=options.slots, socket_path=options.socket, pinpad=options.pinpad, say=say)


def _replay(options: argparse.Namespace) -> int:
    from simulator import replay

    return replay.run(options, english=tr("", "en") == "en")


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "personas": _personas,
    "run": _run,
    "lab": _lab,
    "pki": _pki,
    "psc": _psc,
    "make": _make,
    "serve": _serve,
    "replay": _replay,
}


if __name__ == "__main__":
    sys.exit(main())
