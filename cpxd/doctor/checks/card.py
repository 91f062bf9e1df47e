# SPDX-License-Identifier: Apache-2.0
"""The card: in the reader, awake, one of ours, free, readable."""

from __future__ import annotations

from cpxd import errors
from cpxd.card.registry import Kind
from cpxd.doctor import contacts
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, Verdict, command, error, gesture, info, ok, unknown, warning
from cpxd.doctor.visit import Visit
from cpxd.reader import neighbours
from cpxd.service import seating
from cpxd.text import Text

_WAYS_IN = gesture("Insérez la carte, puce vers l'avant et vers le haut", "Insert the card, chip forward and facing up")
_CLEAN = gesture(
    "Retirez la carte, nettoyez la puce, remettez-la dans le bon sens ; sinon essayez un autre lecteur",
    "Take the card out, clean the chip, put it back the right way; else try another reader",
)


def _card(visit: Visit) -> Findings:
    place = visit.place()
    name = place.state.name
    if place.hidden:
        title = Text(f"Un autre logiciel tient « {name} ».", f"Another program holds “{name}”.")
        cause = Text("GALSS n'en dit rien pendant ce temps.", "GALSS tells nothing of it meanwhile.")
        fix = gesture(
            "Fermez le logiciel de facturation, ou attendez qu'il ait fini", "Close the billing program, or wait until it is done"
        )
        yield error("card", "CPX-118", title, cause, fix, reader=name)
    elif not place.state.present:
        title = Text(f"Lecteur « {name} » prêt, pas de carte.", f"Reader “{name}” is ready, no card.")
        yield error("card", "CPX-103", title, Text("", ""), _WAYS_IN, reader=name)
    elif place.state.mute or not place.state.atr:
        title = Text("Carte muette : elle ne répond pas au lecteur.", "Mute card: it does not answer the reader.")
        cause = Text("Carte à l'envers, puce sale, ou carte abîmée.", "Card upside down, dirty chip, or broken card.")
        yield error("card", "CPX-105", title, cause, _CLEAN, reader=name)
    elif not place.usable or place.kind is Kind.CPS3_CONTACTLESS:
        yield _stranger(place.kind, place.state.atr.hex(" ").upper())
    else:
        generation = "CPx" if place.kind in (None, Kind.UNKNOWN_VERSION) else place.kind.value
        yield ok(
            "card",
            f"Carte {generation} dans « {name} ».",
            f"{generation} card in “{name}”.",
            atr=place.state.atr.hex(" ").upper(),
        )


def _stranger(kind: Kind | None, atr: str) -> Finding:
    if kind is Kind.CPS2TER:
        return error(
            "card",
            "CPX-125",
            Text(
                "Carte CPS2ter : cette génération n'est plus prise en charge.",
                "CPS2ter card: this generation is no longer supported.",
            ),
            Text("Elle doit être remplacée.", "It has to be replaced."),
            contacts.new_card("CPS", anonymous=False),
            verdict=Verdict.REPLACE_CARD,
            atr=atr,
        )
    if kind is Kind.VITALE:
        title = Text("C'est une carte Vitale, pas une carte CPx.", "This is a Vitale card, not a CPx card.")
        fix = gesture(
            "Mettez votre carte CPx dans cette fente, la carte Vitale dans l'autre",
            "Put your CPx card in this slot, the Vitale card in the other",
        )
    elif kind is Kind.CPS3_CONTACTLESS:
        title = Text(
            "Carte CPS lue sans contact : de ce côté elle n'a ni code ni clé du titulaire.",
            "CPS card read without contact: on that side it has no code and no key of its holder.",
        )
        fix = gesture("Insérez la carte dans une fente à contact", "Insert the card into a contact slot")
    else:
        title = Text(f"Carte inconnue (ATR {atr}) : ce n'est pas une CPx.", f"Unknown card (ATR {atr}): it is no CPx.")
        fix = gesture(
            "Insérez votre carte de professionnel ; est-elle dans l'autre fente ?",
            "Insert your professional card; is it in the other slot?",
        )
    return error("card", "CPX-104", title, Text("Rien ne lui a été envoyé.", "Nothing was sent to it."), fix, atr=atr)


def _others(visit: Visit) -> Findings:
    for remark in seating.remarks(visit.places(), visit.usable_settings()):
        yield info("cards", "CPX-226", Text("Cartes du terminal.", "Cards in the terminal."), remark)
    usable = [place for place in visit.places() if place.usable]
    if len(usable) > 1 and visit.options.reader is None:
        names = [place.state.name for place in usable]
        yield info(
            "cards",
            "CPX-119",
            Text(
                f"{len(usable)} cartes CPx insérées ; examinée : « {visit.place().state.name} ».",
                f"{len(usable)} CPx cards inserted; examined: “{visit.place().state.name}”.",
            ),
            Text(
                f"Choisissez avec --reader : {' ; '.join(f'« {name} »' for name in names)}",
                f"Choose with --reader: {'; '.join(f'“{name}”' for name in names)}",
            ),
        )


def _read(visit: Visit) -> Findings:
    try:
        found = visit.card()
    except errors.CpxError as failed:
        yield _failed(visit, failed)
        return
    if found.unreadable:
        parts = ", ".join(found.unreadable)
        yield warning(
            "read",
            "CPX-205",
            Text("Une partie de la carte est illisible.", "A part of the card cannot be read."),
            Text(parts, parts),
            contacts.new_card(found.record.card.kind, anonymous=found.record.holder.pseudonym is not None),
        )
    elif visit.glimpsed is not None:
        yield ok(
            "read",
            "La carte répond ; elle est lente, l'essentiel a été lu (tout : --all).",
            "The card answers; it is slow, the main things were read (all: --all).",
        )
    else:
        yield ok("read", "La carte se lit en entier.", "The whole card can be read.", certificates=len(found.record.certificates))
    if found.update_interrupted:
        yield warning(
            "read",
            "CPX-146",
            Text("La mise à jour de la carte a été interrompue.", "The update of the card was interrupted."),
            Text(
                "Ce qu'elle dit peut être incomplet ; rien n'y est écrit.",
                "What it says may be incomplete; nothing is written on it.",
            ),
            gesture("Refaites la mise à jour de la carte", "Update the card again"),
        )
    if found.record.card.category == "test":
        yield info(
            "read",
            "CPX-212",
            Text("C'est une carte de TEST.", "This is a TEST card."),
            Text("Les téléservices réels la refusent.", "Real services refuse it."),
        )


def _situations(visit: Visit) -> Findings:
    visit.card()
    if visit.glimpsed is not None:
        return
    count = sum(label.startswith("CPS_ACTIVITY_") for label in visit.listed)
    if count:
        words = (f"Situations d'exercice : {count}, lisibles avec le code.", f"Practice situations: {count}, read with the PIN.")
        yield ok("situations", *words)
        return
    yield info(
        "situations",
        "CPX-213",
        Text("Carte sans situation d'exercice.", "Card without a practice situation."),
        Text("C'est normal sans activité : bénévole, retraité.", "That is normal without a practice: volunteer, retired."),
    )


def _failed(visit: Visit, failed: errors.CpxError) -> Finding:
    detail = Text(*_both(failed))
    if isinstance(failed, errors.ReaderBusy):
        who = neighbours.after(failed)
        return error(
            "read",
            failed.code,
            Text("Un autre logiciel tient la carte.", "Another program holds the card."),
            Text(f"Il ne la rend pas.{who.fr}", f"It does not give it back.{who.en}"),
            gesture(
                "Fermez les logiciels qui utilisent la carte, ou retirez-la et remettez-la",
                "Close the programs that use the card, or take it out and put it back",
            ),
        )
    if isinstance(failed, errors.BadConfig):
        file = failed.details["file"]
        title = Text(f"Configuration refusée : {file}", f"Configuration refused: {file}")
        return error("read", failed.code, title, detail, gesture(f"Corrigez ou retirez {file}", f"Correct or remove {file}"))
    if isinstance(failed, errors.DamagedCard):
        title = Text("Les données de la carte sont illisibles.", "The data of the card cannot be read.")
        return error("read", failed.code, title, detail, contacts.new_card(None, anonymous=False), verdict=Verdict.REPLACE_CARD)
    for kind, title, fix in _REFUSALS:
        if isinstance(failed, kind):
            return error("read", failed.code, title, detail, fix)
    if isinstance(failed, (errors.CardRemoved, errors.CardReset, errors.CardChanged)):
        title = Text("La carte a bougé pendant le diagnostic.", "The card moved during the diagnosis.")
        return unknown("read", failed.code, title, detail, command("cpxd doctor"))
    return unknown(
        "read",
        failed.code,
        Text("La carte n'a pas pu être examinée.", "The card could not be examined."),
        detail,
        command("cpxd doctor"),
    )


_REFUSALS: tuple[tuple[type[errors.CpxError], Text, Fix], ...] = (
    (
        errors.CardMute,
        Text("La carte ne répond plus au milieu de la lecture.", "The card falls silent while it is read."),
        _CLEAN,
    ),
    (
        errors.UnsupportedCard,
        Text(
            "La carte a l'ATR d'une CPx, et n'en a pas l'application.", "The card has the ATR of a CPx, and not its application."
        ),
        _WAYS_IN,
    ),
    (errors.CardRefused, Text("La carte refuse d'être lue.", "The card refuses to be read."), _CLEAN),
)


def _both(failed: errors.CpxError) -> tuple[str, str]:
    """The sentence of an error in both languages."""
    details = {name: str(value) for name, value in failed.details.items()}
    try:
        return failed.what.fr.format_map(details), failed.what.en.format_map(details)
    except KeyError:
        return failed.sentence(), failed.sentence()


FAMILY = Family(
    "card",
    Text("Carte", "Card"),
    (
        Check(
            "card",
            Text("Carte présente et reconnue", "Card present and known"),
            ("CPX-103", "CPX-104", "CPX-105", "CPX-118", "CPX-125"),
            _card,
            ("pcsc", "reader"),
        ),
        Check("cards", Text("Autres cartes", "Other cards"), ("CPX-119", "CPX-226"), _others, ("pcsc", "reader")),
        Check(
            "read",
            Text("Lecture de la carte, sans code", "Reading of the card, without a code"),
            (
                "CPX-105",
                "CPX-118",
                "CPX-126",
                "CPX-127",
                "CPX-128",
                "CPX-129",
                "CPX-130",
                "CPX-141",
                "CPX-145",
                "CPX-146",
                "CPX-205",
                "CPX-212",
            ),
            _read,
            ("pcsc", "reader", "scdaemon", "card"),
        ),
        Check(
            "situations",
            Text("Situations d'exercice", "Practice situations"),
            ("CPX-213",),
            _situations,
            ("pcsc", "reader", "scdaemon", "card", "read"),
        ),
    ),
)
