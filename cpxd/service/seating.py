# SPDX-License-Identifier: Apache-2.0
"""What the cards in a terminal's slots tell a person, by their ATRs: a Vitale card is never sent anything. And which two readers
see one card, by contact and without: that its serial number tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cpxd import errors
from cpxd.card.registry import Kind
from cpxd.config import Settings
from cpxd.reader import galssini
from cpxd.reader.terminals import Seat, seats
from cpxd.record.files import SerialNumber
from cpxd.service.desk import OpenCard, Place, places
from cpxd.text import Text

_TWO = 2  # slots: one for the CPS, one for the Vitale card
_HASTY = 1.0  # seconds


@dataclass(frozen=True)
class Seated:
    place: Place
    seat: Seat


def seated(found: Sequence[Place]) -> list[Seated]:
    where = seats(place.state.name for place in found)
    return [Seated(place, where[place.state.name]) for place in found]


def slot_words(seat: Seat) -> Text:
    """ "fente 2 sur 2", or nothing for a reader of one slot."""
    if seat.count == 1:
        return Text("", "")
    return Text(f"fente {seat.number} sur {seat.count}", f"slot {seat.number} of {seat.count}")


def both_sides(found: Sequence[Place], settings: Settings) -> dict[str, str]:
    """By reader, the one that sees the same chip from its other side. EF.SN.ICC is read of cards with a contactless one beside
    them, and of no others; one that another program holds is not waited for long."""
    near = [place.state.name for place in found if place.usable and place.contactless]
    there = [place.state.name for place in found if place.usable and not place.contactless] if near else []
    hasty = replace(settings, reader_wait=_HASTY, card_silence=_HASTY)
    chips = [(name, _serial(name, hasty)) for name in (near if there else ())]
    pairs: dict[str, str] = {}
    for name in there:
        chip = _serial(name, hasty)
        for other in (other for other, seen in chips if chip is not None and seen == chip):
            pairs[name], pairs[other] = other, name
    return pairs


def other_doors(card: OpenCard) -> list[str]:
    """The readers that see the chip of an open card without contact: EF.SN.ICC, read there too, is the same. One holder, two
    doors; nothing else that both sides show tells it."""
    near = [place.state.name for place in places() if place.contactless and place.usable and place.state.name != card.reader]
    if not near:
        return []
    chip = card.run(lambda session, begin: session.root(begin)).serial
    return [name for name in near if _serial(name, card.settings) == chip]


def _serial(reader: str, settings: Settings) -> SerialNumber | None:
    try:
        with OpenCard(reader, settings) as card:
            return card.run(lambda session, begin: session.root(begin)).serial
    except errors.CpxError:
        return None


def remarks(found: Sequence[Place], settings: Settings) -> Iterator[Text]:
    """Cards that seem to have been swapped, and a Vitale card that lies where a CPx card is looked for."""
    terminals: dict[str, list[Seated]] = {}
    for here in seated(found):
        terminals.setdefault(here.seat.terminal, []).append(here)
    roles = _roles(settings)
    for slots in terminals.values():
        vitale = [here for here in slots if here.place.kind is Kind.VITALE]
        ours = [here for here in slots if here.place.usable]
        if vitale and ours and len(slots) == _TWO and _swapped(ours[0], vitale[0], roles):
            yield Text(
                f"Cartes interverties, semble-t-il : la carte CPx est dans la fente {ours[0].seat.number}, la carte Vitale dans"
                f" la fente {vitale[0].seat.number}. cpxd s'en accommode ; un logiciel de facturation peut les chercher"
                " dans l'autre sens.",
                f"The cards seem to be swapped: the CPx card is in slot {ours[0].seat.number}, the Vitale card in slot"
                f" {vitale[0].seat.number}. cpxd does not mind; a billing program may look for them the other way round.",
            )
        elif vitale and not ours:
            other = Text("", "")
            if len(slots) > 1:
                other = Text(" : votre carte CPx va dans l'autre fente", ": your CPx card goes into the other slot")
            name = vitale[0].place.state.name
            yield Text(f"« {name} » contient une carte Vitale{other.fr}.", f"“{name}” holds a Vitale card{other.en}.")


def _swapped(ours: Seated, vitale: Seated, roles: dict[str, str]) -> bool:
    """By galss.ini where it names these slots. Else by the order of its published sample, CPS first, which not all keep."""
    told = roles.get(ours.place.state.name), roles.get(vitale.place.state.name)
    if any(told):
        return told[0] == "vitale" or told[1] == "cps"
    known = ours.seat.known
    return known is not None and known.kind == "sesam-vitale" and ours.seat.number > vitale.seat.number


def _roles(settings: Settings) -> dict[str, str]:
    """By PC/SC name, what galss.ini says a slot is for: "cps", "vitale"."""
    path = galssini.find(settings.galss_ini)
    if path is None:
        return {}
    try:
        channels = galssini.load(path).channels
    except errors.BadConfig:  # the doctor's finding
        return {}
    return {
        channel.characteristics: unit.name.casefold()
        for channel in channels
        if channel.kind == galssini.PCSC
        for unit in channel.units
    }
