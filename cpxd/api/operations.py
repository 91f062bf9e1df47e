# SPDX-License-Identifier: Apache-2.0
"""What each resource does. `Call` is one request that has passed the gate; what it returns becomes JSON."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

from cpxd import errors
from cpxd.api import origins, problems, routes
from cpxd.api.keys import TOKEN_SECONDS, Keys
from cpxd.api.standing import Standing
from cpxd.card.application import Mechanism, NotAllowed
from cpxd.card.registry import Kind
from cpxd.config import Settings
from cpxd.dialog.display import DisplayHints
from cpxd.record.certificate import CardCertificate
from cpxd.service import holder
from cpxd.service import signing as documents
from cpxd.service.consent import Asking, Binding
from cpxd.service.hub import Hub
from cpxd.service.logins import Client
from cpxd.service.slot import Slot
from cpxd.signature import preview, signing
from cpxd.signature.cms import Content
from cpxd.signature.options import Options
from cpxd.signature.signer import Padding
from cpxd.text import Text
from cpxd.version import __version__

T = TypeVar("T")
_LINES = 5000  # of a document that are shown; it says so when there are more
_PATIENCE = 15.0  # seconds that a card just put in may take to be read: a CPS3 that was never seen here, 8
_GLANCE = 5.0  # and before it is listed as being read
WHO = Text("votre identité et votre profession", "who you are and your profession")
SITUATIONS, SIGNATURE, LOGIN = Text("situations", "situations"), Text("signature", "signature"), Text("connexion", "login")
APP = f"https://localhost/cpxd/{__version__}"  # appVersion of web-eid:1.0: an address, informative


class Desk:
    """What all calls share."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self.hub, self.settings = hub, settings
        self.keys = Keys()
        self._standing = Standing(settings)
        self.open_to_browsers = False  # whether the port of this service is ours
        self._pending = False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One request at a time may have the person's attention. Raises Pending."""
        if self._pending:
            raise problems.Pending()
        self._pending = True
        try:
            yield
        finally:
            self._pending = False

    async def look(self) -> None:
        """Bring up to date what `readers` says of oppositions."""
        await self._standing.look(self.hub.slots)

    def readers(self) -> dict[str, Any]:
        slots = self.hub.slots
        return {"readers": [described(slot, _other_side(slot, slots), revoked=self._standing.revoked(slot)) for slot in slots]}


class Call:
    """`origin`: of the page; None: a program of the user, named `who`."""

    def __init__(self, desk: Desk, origin: str | None, who: str, hints: DisplayHints) -> None:
        self._desk, self._origin, self._settings = desk, origin, desk.settings
        self._hints = hints
        self._asking = Asking(origin or who, desk.settings, hints, remembers=origin is not None)

    async def run(self, route: routes.Route, given: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = await getattr(self, route.operation)(given)
        return found

    async def info(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"name": "cpxd", "version": __version__, "api": "v1"}

    async def openapi(self, given: dict[str, Any]) -> dict[str, Any]:
        return routes.openapi(self._settings.api_port)

    async def page(self, given: dict[str, Any]) -> dict[str, Any]:
        """For the person's own program to open in their browser. No site may have it, whatever it is allowed."""
        if self._origin is not None:
            raise problems.UnknownResource()
        if not self._desk.open_to_browsers:
            raise problems.NoPort(port=self._settings.api_port)
        address = f"https://localhost:{self._settings.api_port}/card?t={self._desk.keys.token(self._hints)}"
        return {"address": address, "seconds": int(TOKEN_SECONDS)}

    async def readers(self, given: dict[str, Any]) -> dict[str, Any]:
        for slot in self._desk.hub.slots:
            await slot.ready(_GLANCE)
        await self._desk.look()
        return self._desk.readers()

    async def identity(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._desk.alone():
            bound = await self._bound(given)
            await self._asking.share(bound, WHO)
            return await holder.read(bound.slot, self._settings, None)

    async def certificates(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._desk.alone():
            bound = await self._bound(given)
            await self._asking.share(bound, WHO)
            return {"certificates": [_certificate(c) for c in bound.token.certificates if c is not None]}

    async def situations(self, given: dict[str, Any]) -> dict[str, Any]:
        with self._desk.alone():
            bound = await self._bound(given)
            await self._asking.share(bound, WHO)
            return await self._asking.proved(bound, SITUATIONS, lambda client: holder.read(bound.slot, self._settings, client))

    async def authenticate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Web eID, "Authentication token format", web-eid:1.0: what is signed is hash(origin) ‖ hash(nonce), never what a page
        chooses, and neither of them is in the token."""
        origin = self._token_origin(given)
        with self._desk.alone():
            bound = await self._bound(given)
            certificate, mechanism = _authentication(bound)
            signed = hashlib.sha256(origin.encode()).digest() + hashlib.sha256(given["nonce"].encode()).digest()
            digest = hashlib.sha256(signed).digest()
            signature = await self._asking.proved(
                bound, LOGIN, lambda client: bound.slot.sign(client, "authentication", mechanism, digest)
            )
        return {
            "unverifiedCertificate": _base64(certificate.der),
            "algorithm": "RS256" if mechanism.padding == "pkcs1" else "PS256",
            "signature": _base64(signature),
            "format": "web-eid:1.0",
            "appVersion": APP,
        }

    def _token_origin(self, given: dict[str, Any]) -> str:
        if self._origin is not None:
            if "origin" in given:
                raise problems.BadRequest(detail="origin")
            return self._origin
        origin = str(given.get("origin", ""))
        if not origins.is_origin(origin):
            raise problems.BadRequest(detail="origin")
        self._asking.who = f"{self._asking.who} → {origin}"
        return origin

    async def sign(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [(item["name"], base64.b64decode(item["content"])) for item in given["documents"]]
        if given.get("format") == "hash":
            return await self._sign_hashes(given, files)
        options = Options(
            given.get("format", "cms"),
            given.get("level", "b"),
            given.get("form"),
            pss=given.get("pss", False),
            visible=given.get("visible", False),
            tsa=self._settings.sign_tsa,
        )
        with self._desk.alone():
            signer = await self._accepted(given, files, lambda content: preview.of_bytes(content, _LINES))
            # only now: a time-stamping authority is not asked for a site that nobody has said yes to
            prepared = await asyncio.to_thread(documents.prepare_for, signer, options, self._settings)
            look = documents.appearance(signer.certificate) if options.format == "pades" and options.visible else None
            made = [_document(name, content) for name, content in files]
            values = await self._signed(signer, made, lambda document: prepared.sign(document, appearance=look))
        return _signatures(files, values, options.suffix)

    async def _sign_hashes(self, given: dict[str, Any], hashes: list[tuple[str, bytes]]) -> dict[str, Any]:
        """What nobody can read, and is shown as such: for sites that an administrator named."""
        if given.keys() & {"form", "level", "visible"}:
            raise problems.BadRequest(detail="hash: form, level, visible")
        for _, digest in hashes:
            documents.check_hash(digest, self._origin, self._asking.who, self._settings)
        with self._desk.alone():
            signer = await self._accepted(given, hashes, preview.of_hash)
            values = await self._signed(signer, [digest for _, digest in hashes], signer.sign)
        return _signatures(hashes, values, ".sig")

    async def _accepted(
        self, given: dict[str, Any], files: list[tuple[str, bytes]], look: Callable[[bytes], preview.Preview]
    ) -> SlotSigner:
        """Who signs, once the person has said yes to each document as `look` shows it."""
        bound = await self._bound(given)
        signer = SlotSigner(bound, "pss" if given.get("pss") else "pkcs1")
        signing.check_validity(signer.certificate, datetime.now(UTC))
        for number, (name, content) in enumerate(files, 1):
            seen = await asyncio.to_thread(look, content)
            await self._asking.document(bound, number, len(files), preview.text(seen, preview.clean(name)), signer.name)
        return signer

    async def _signed(self, signer: SlotSigner, items: list[T], sign: Callable[[T], bytes]) -> list[bytes]:
        """One PIN, and `sign` of each on a thread."""

        async def work(client: Client) -> list[bytes]:
            signer.client = client
            return [await asyncio.to_thread(sign, item) for item in items]

        return await self._asking.proved(signer.bound, SIGNATURE, work)

    async def _bound(self, given: dict[str, Any]) -> Binding:
        slot = choose(self._desk.hub, given.get("reader"))
        await slot.ready(_PATIENCE)
        return Binding.to(slot)


class SlotSigner:
    """The signature key of a slot as the formats of `signature/` want it; they run on a thread, the card on the loop."""

    def __init__(self, bound: Binding, padding: Padding) -> None:
        self.bound, self.padding = bound, padding
        self._loop = asyncio.get_running_loop()
        self._mechanism = Mechanism(padding, "sha256")
        self.client: Client = None
        found = _certificate_for(bound, "signature")
        if self._mechanism not in bound.token.mechanisms["signature"]:
            raise errors.MechanismUnavailable(mechanism=self._mechanism)
        self.certificate, self.name = found.der, preview.clean(found.subject.text)

    def sign(self, digest: bytes) -> bytes:
        work = self.bound.slot.sign(self.client, "signature", self._mechanism, digest)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except NotAllowed:
            raise errors.CardReset() from None


def choose(hub: Hub, number: int | None) -> Slot:
    """The slot that a request is about. Raises NoService, NoReader, NoCard, SeveralCards, UnknownReader, ReaderBusy, a card's own
    error."""
    slots = list(hub.slots)
    if not hub.service:
        raise errors.NoService()
    if not slots:
        raise errors.NoReader()
    if number is not None:
        if number >= len(slots):
            raise errors.UnknownReader(reader=number)
        slots = [slots[number]]
    present = sorted((slot for slot in slots if slot.present), key=lambda slot: slot.kind is Kind.VITALE)
    usable = [slot for slot in present if slot.error is None and slot.kind is not Kind.CPS3_CONTACTLESS]
    if len(usable) > 1:
        raise errors.SeveralCards(readers=" ; ".join(f"{slot.id} « {slot.reader} »" for slot in usable))
    if not usable and any(slot.error is None for slot in present):
        raise errors.ContactlessCard()
    if not present:
        raise next((_busy(slot) for slot in slots if slot.hidden is not None), errors.NoCard())
    if not usable:
        raise present[0].error or errors.NoCard()
    return usable[0]


def _busy(slot: Slot) -> errors.ReaderBusy:
    return errors.ReaderBusy(seconds=round(monotonic() - (slot.hidden or 0.0)), reader=slot.reader)


def described(slot: Slot, other: Slot | None, *, revoked: bool | None) -> dict[str, Any]:
    """A reader for a site that may ask: no name, no number, no certificate. `other`: the slot that sees the same card."""
    pin = slot.codes.pin if slot.token is not None and slot.codes is not None else None
    return {
        "id": slot.id,
        "name": slot.reader,
        "state": state(slot, revoked=revoked),
        "insertion": slot.insertion,
        "generation": slot.token.generation if slot.token is not None else None,
        "same_card": None if other is None else other.id,
        "pin": None if pin is None else {"tries_left": pin.tries_left, "blocked": pin.blocked},
    }


def _other_side(slot: Slot, slots: Iterable[Slot]) -> Slot | None:
    """The slot that reads the same chip (EF.SN.ICC), by contact where this one does without, and the other way round."""
    for other in slots:
        ours, theirs = slot.token, other.token
        if ours and theirs and ours.contactless is not theirs.contactless and ours.root.serial == theirs.root.serial:
            return other
    return None


def state(slot: Slot, *, revoked: bool | None) -> str:
    """One of routes.STATES: of a card that has several, the one that nothing done to its codes would change."""
    if slot.error is not None or slot.kind is Kind.CPS3_CONTACTLESS:
        return _failed(slot.error)
    if slot.token is None or slot.codes is None or revoked is None:
        return "reading" if slot.present else "no-card" if slot.hidden is None else "busy"
    if revoked:
        return "revoked"
    ends = [c.not_after for c in slot.token.certificates if c is not None and c.is_authentication]
    if ends and max(ends) < datetime.now(UTC):
        return "expired"
    if slot.codes.pin.blocked:
        return "puk-blocked" if slot.codes.unblock.blocked else "pin-blocked"
    return "pin-last-try" if slot.codes.pin.tries_left == 1 else "ready"


def _failed(error: errors.CpxError | None) -> str:
    """None: the card is seen without contact, and is no use to a page on that side."""
    if error is None or isinstance(error, (errors.UnsupportedCard, errors.RetiredCard)):
        return "unsupported"
    return "damaged" if isinstance(error, errors.DamagedCard) else "mute"


def _certificate_for(bound: Binding, usage: Any) -> CardCertificate:
    key = bound.token.tree.key(usage)
    found = bound.token.certificate_of(key) if key is not None else None
    if found is None:
        raise errors.KeyUnavailable(usage=usage)
    return found


def _authentication(bound: Binding) -> tuple[CardCertificate, Mechanism]:
    found = _certificate_for(bound, "authentication")
    for padding in ("pkcs1", "pss"):
        mechanism = Mechanism(padding, "sha256")
        if mechanism in bound.token.mechanisms["authentication"]:
            return found, mechanism
    raise errors.MechanismUnavailable(mechanism="RSA SHA256")


def _certificate(found: CardCertificate) -> dict[str, Any]:
    return {
        "usage": found.usage,
        "der": _base64(found.der),
        "subject": found.subject.text,
        "issuer": found.issuer.text,
        "valid_from": f"{found.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "valid_until": f"{found.not_after:%Y-%m-%dT%H:%M:%SZ}",
    }


def _document(name: str, content: bytes) -> signing.Document:
    from pathlib import Path

    file = Path(name).name or "document"
    hashed = Content(hashlib.sha256(content).digest(), len(content))
    return signing.Document(file, hashed, content, preview.media_type(content, Path(file)))


def _signatures(files: list[tuple[str, bytes]], values: list[bytes], suffix: str) -> dict[str, Any]:
    made = [{"name": f"{name}{suffix}", "content": _base64(value)} for (name, _), value in zip(files, values, strict=True)]
    return {"signatures": made}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
