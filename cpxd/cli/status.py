# SPDX-License-Identifier: Apache-2.0
"""`cpxd status`: the card in one look; with --watch, at each change of the readers."""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cpxd import config, errors
from cpxd.cli.common import add_json, add_reader, show_json, show_lines
from cpxd.errors import Exit
from cpxd.text import Text, printable, tr, tries

if TYPE_CHECKING:
    from cpxd.reader.link import ReaderState
    from cpxd.service.status import Status

_REFRESH = 300.0  # seconds: days pass, and lists of opposition come in
_SPURIOUS = 0.05
_AWAY = 2.0  # seconds between two looks while there is no PC/SC service
_WIDTH = 79
_INDENT: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "    "}
_RIGHTS = {
    "yes": Text("oui", "yes"),
    "conditional": Text("sous condition", "conditional"),
    "no": Text("non", "no"),
    "unknown": Text("inconnu (marque perdue)", "unknown (lost mark)"),
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    text = tr("la carte d'un coup d'œil", "the card in one look")
    parser = commands.add_parser("status", parents=[common], help=text, description=text)
    parser.add_argument(
        "--watch", action="store_true", help=tr("suivre les changements, jusqu'à Ctrl-C", "follow changes, until Ctrl-C")
    )
    text = tr("ouvrir la page « Ma carte » dans le navigateur", "open the page “My card” in the browser")
    parser.add_argument("--web", action="store_true", help=text)
    add_reader(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from cpxd.service import status

    if options.web:
        from cpxd.cli import web

        return web.run(options)
    settings = config.load()
    if options.watch:
        return _watch(options, settings)
    found = status.look(settings, options.reader)
    if options.json:
        show_json(status.as_json(found))
    else:
        show_lines(lines(found))
    return Exit.DONE if found.trouble is None else int(found.trouble.exit)


def _watch(options: argparse.Namespace, settings: config.Settings) -> int:
    from cpxd.service import status

    clears = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb") and not options.json
    try:
        for _ in _changes():
            found = status.look(settings, options.reader)
            if options.json:
                print(json.dumps(status.as_json(found), ensure_ascii=False), flush=True)
                continue
            if clears:
                print("\x1b[2J\x1b[H", end="")
            show_lines(lines(found))
            print(flush=True)
    except KeyboardInterrupt:
        pass
    return Exit.DONE


def _changes() -> Iterator[None]:
    """Now, and at each change of readers and cards. The thread rests in PC/SC, which Ctrl-C does not wake; this one it does."""
    news: queue.SimpleQueue[None] = queue.SimpleQueue()
    threading.Thread(target=_follow, args=(news,), daemon=True).start()
    while True:
        news.get()
        yield


def _follow(news: queue.SimpleQueue[None]) -> None:
    from cpxd.reader.pcsc import Context

    while True:
        try:
            with Context() as context:
                known = context.states()
                news.put(None)
                while True:
                    found = context.wait(known, _REFRESH)
                    if _seen(found) != _seen(known):
                        news.put(None)
                    elif found == known:
                        time.sleep(_SPURIOUS)
                    known = found
        except errors.CpxError:
            news.put(None)
            time.sleep(_AWAY)


def _seen(states: list[ReaderState]) -> list[tuple[str, bool, bool, bytes]]:
    return [(state.name, state.present, state.mute, state.atr) for state in states]


def lines(found: Status) -> Iterator[str]:
    """The page."""
    if found.identity is None or found.validity is None:
        from cpxd.reader import neighbours

        trouble = found.trouble
        yield f"✗ {trouble}{neighbours.after(trouble)}" if trouble is not None else "?"
        yield tr("→ cpxd doctor (diagnostic), cpxd rescue (pas à pas)", "→ cpxd doctor (diagnosis), cpxd rescue (step by step)")
        return
    from cpxd.cli import card_text
    from cpxd.cli.pin import lines as code_lines
    from cpxd.cli.validity import answer_line

    states = found.identity.codes
    codes = code_lines(states)
    yield from (line for line in card_text.lines(found.identity) if line not in codes)
    yield f"{tr('Opposition', 'Revocation'):<20}{answer_line(found.validity.answer)}"
    if states is None:
        yield from codes
    else:
        pin, unblock = states.pin, states.unblock
        yield f"{tr('Code porteur', 'PIN'):<20}{dots(pin.tries_left, pin.max_tries or 3)}  {tries(pin.tries_left)}"
        yield f"{tr('Code de déblocage', 'Unblock code'):<20}{tries(unblock.tries_left)}"
        if pin.blocked:
            yield f"→ cpxd unblock{found.option}"
    yield from _usages(found)
    if found.events:
        yield tr("Derniers événements :", "Last events:")
        yield from (f"  {_event(line)}" for line in found.events)


def _usages(found: Status) -> Iterator[str]:
    """Rights of the sheets that are the holder's; of those that only may be, the names."""
    from cpxd.usages import SERVICES

    certain = [match for match in found.usages if match.certain]
    possible = [match for match in found.usages if not match.certain]
    for match in certain:
        yield f"{tr('Usages', 'Uses'):<20}{match.sheet.holder}, {match.sheet.card}"
        for value, word in _RIGHTS.items():
            names = [str(SERVICES[usage.service]) for usage in match.usages if usage.value == value]
            if names:
                yield from textwrap.wrap(f"{word}{tr(' : ', ': ')}{', '.join(names)}", _WIDTH, **_INDENT)
    if possible:
        names = [f"{match.sheet.holder} ({match.sheet.card})" for match in possible]
        head = f"{tr('Usages', 'Uses'):<20}{tr('selon votre fiche : ', 'by your sheet: ')}"
        yield from textwrap.wrap(head + tr(" ; ", "; ").join(names), _WIDTH, subsequent_indent=" " * 20)
        yield " " * 20 + f"→ cpxd usages --pin{found.option}"
    if not found.usages:
        none = tr("le guide n'a pas de fiche pour cette carte", "the guide has no sheet for this card")
        yield f"{tr('Usages', 'Uses'):<20}{none}"


def dots(left: int, most: int) -> str:
    """●●○: tries left of those there were."""
    return "●" * left + "○" * max(0, most - left)


def _event(line: str) -> str:
    try:
        entry = json.loads(line)
        moment, rest = entry.pop("time"), entry.pop("event")
        return printable(f"{moment[:16].replace('T', ' ')}  {rest} " + " ".join(str(v) for v in entry.values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        return printable(line)[:120]
