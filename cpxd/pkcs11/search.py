# SPDX-License-Identifier: Apache-2.0
"""Objects: searches, attributes, and the one object that may be written (CPS_DATA)."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from cpxd.card.application import FileMissing
from cpxd.pkcs11.application import Application, Session
from cpxd.pkcs11.ck import CKA, CKR
from cpxd.pkcs11.objects import Object
from cpxd.pkcs11.rv import Failure
from cpxd.pkcs11.wire import Attribute

Answer = tuple[Any, ...]
_SIZE_ASKED = 0  # room of a caller that passes NULL


class Search:
    """What is left of the handles that a search found."""

    def __init__(self, handles: list[int]) -> None:
        self.handles = handles


def find_init(app: Application, handle: int, template: Sequence[Attribute]) -> Answer | Coroutine[Any, Any, Answer]:
    session = app.session(handle)
    session.check_idle("find")
    if any(kind == CKA.VALUE for kind, _ in template):
        return _find_with_values(app, session, template)
    seen = app.catalog(session).visible(private=app.sees_private(session))
    session.start("find", Search([number for number, item in seen if item.matches(template, None)]))
    return ()


async def _find_with_values(app: Application, session: Session, template: Sequence[Attribute]) -> Answer:
    rest = [(kind, value) for kind, value in template if kind != CKA.VALUE]
    found = []
    for number, item in list(app.catalog(session).visible(private=app.sees_private(session))):
        if item.matches(rest, None) and item.matches(template, await _value(app, session, item)):
            found.append(number)
    app.session(session.handle)
    session.start("find", Search(found))
    return ()


def find(app: Application, handle: int, capacity: int) -> Answer:
    search = app.session(handle).operation("find", Search)
    found, search.handles = search.handles[:capacity], search.handles[capacity:]
    return (found,)


def find_final(app: Application, handle: int) -> Answer:
    session = app.session(handle)
    session.operation("find", Search)
    del session.operations["find"]
    return ()


def attributes(
    app: Application, handle: int, number: int, query: Sequence[tuple[int, int]]
) -> Answer | Coroutine[Any, Any, Answer]:
    session = app.session(handle)
    item = app.object(session, number)
    if item.data is not None and any(kind == CKA.VALUE for kind, _ in query):
        known = session.slot.content_known(item.data.label)
        if known is None:
            return _attributes_later(app, session, item, query)
        return _attributes(item, known, query)
    return _attributes(item, None, query)


async def _attributes_later(app: Application, session: Session, item: Object, query: Sequence[tuple[int, int]]) -> Answer:
    value = await _value(app, session, item)
    app.session(session.handle)
    return _attributes(item, value, query)


async def _value(app: Application, session: Session, item: Object) -> bytes | None:
    """CKA_VALUE of a data object: its whole file. Empty when the card lists it and does not have it."""
    if item.data is None:
        return None
    try:
        return await session.slot.content(app, item.data)
    except FileMissing:
        return b""


def _attributes(item: Object, value: bytes | None, query: Sequence[tuple[int, int]]) -> Answer:
    rv = CKR.OK
    found: list[Attribute] = []
    for kind, room in query:
        own = value if kind == CKA.VALUE and item.data is not None else item.attributes.get(kind)
        if item.sensitive(kind):
            rv = CKR.ATTRIBUTE_SENSITIVE
        elif own is None:
            rv = CKR.ATTRIBUTE_TYPE_INVALID
        elif room != _SIZE_ASKED and room < len(own):
            rv, own = CKR.BUFFER_TOO_SMALL, None
        # the whole value even for a size query: clients before p11-kit 0.25.4 take the size from it
        found.append((kind, own))
    return found, rv


async def set_attributes(app: Application, handle: int, number: int, template: Sequence[Attribute]) -> Answer:
    session = app.session(handle)
    item = app.object(session, number)
    if not session.writable:
        raise Failure(CKR.SESSION_READ_ONLY)
    if item.data is None or not item.data.modifiable:
        raise Failure(CKR.ATTRIBUTE_READ_ONLY)
    if not template:
        return ()
    if any(kind != CKA.VALUE for kind, _ in template):
        raise Failure(CKR.ATTRIBUTE_READ_ONLY)
    content = template[-1][1]
    if content is None or len(template) != 1:
        raise Failure(CKR.ATTRIBUTE_VALUE_INVALID)
    try:
        await session.slot.write(item.data, content)
    except ValueError:
        raise Failure(CKR.ATTRIBUTE_VALUE_INVALID) from None
    return ()
