# SPDX-License-Identifier: Apache-2.0
"""Mail as MSSanté carries it: S/MIME 4.0 (RFC 8551), signed clearly (multipart/signed). Encrypted mails: enveloped.py.

The headers of the mail are written inside what is signed as well (RFC 9788): else anybody could change from whom, to whom and
about what a signed mail is.
"""

from __future__ import annotations

import base64
import email
import email.policy
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from io import BytesIO

from cpxd import errors
from cpxd.signature import cms
from cpxd.signature.signeddata import BadSignature
from cpxd.signature.signer import Signer
from cpxd.signature.xmlsafe import BadXml, decode_base64
from cpxd.text import tr

FORMAT = "S/MIME"
HTML = "text/html"  # what it shows depends on who shows it
MAX_MAIL = 32 << 20  # bytes
_PROTECTED = ("From", "To", "Cc", "Subject", "Date", "Reply-To", "Message-ID", "In-Reply-To", "References")
_OF_CONTENT = ("content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description")
_ENDS = re.compile(rb"\r\n|\r|\n")


def bad_mail(reason: str) -> errors.BadDocument:
    return errors.BadDocument(format=FORMAT, reason=reason)


def parse_mail(content: bytes) -> Message:
    """A mail with at least one header. Raises BadDocument, DocumentTooLarge."""
    if len(content) > MAX_MAIL:
        raise errors.DocumentTooLarge(format=FORMAT, size=len(content), limit=MAX_MAIL)
    try:
        message = email.message_from_bytes(content, policy=email.policy.compat32)
    except (ValueError, LookupError, RecursionError):
        message = Message()
    if not message.keys() or not any(name in message for name in ("From", "To", "Subject", "Content-Type", "MIME-Version")):
        raise bad_mail(tr("ce n'est pas un message (RFC 5322)", "this is no mail message (RFC 5322)"))
    return message


def header(message: Message, name: str) -> str:
    """The header fields of a name as a person reads them: raw UTF-8 too (RFC 6532)."""
    return ", ".join(_words(str(value)) for value in _raw(message, name))


def _raw(message: Message, name: str) -> list[str]:
    """As they stand; what is no ASCII became surrogates when it was parsed."""
    found = [value for field, value in message.raw_items() if field.lower() == name.lower()]
    return [str(value).encode("ascii", "surrogateescape").decode("utf-8", "replace") for value in found]


def _words(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except (ValueError, LookupError, MessageError):
        return value


def body_and_attachments(message: Message) -> tuple[str, list[str]]:
    """The text of a mail, and the names of what is attached."""
    body, names = "", []
    for part in message.walk():
        if part.is_multipart():
            continue
        kind, name = part.get_content_type(), part.get_filename()
        if name or kind not in ("text/plain", "text/html"):
            names.append(f"{name or '?'} ({kind})")
        elif kind == "text/html":
            names.append(HTML)
        else:
            payload = part.get_payload(decode=True)
            body += _decoded(payload, part) if isinstance(payload, bytes) else ""
    return body, names


def _decoded(payload: bytes, part: Message) -> str:
    try:
        return payload.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        return payload.decode("utf-8", "replace")


def sign(
    mail: bytes, signer: Signer, *, at: datetime | None = None, complete: Callable[[bytes], bytes] = lambda signature: signature
) -> bytes:
    """The mail as multipart/signed, CRLF line ends. `complete`: what a level adds to the signature. Raises BadDocument."""
    parse_mail(mail)
    head, body = _split(canonical(mail))
    fields = _fields(head)
    content = [f for f in fields if _name(f) in _OF_CONTENT]
    others = [f for f in fields if _name(f) not in (*_OF_CONTENT, "mime-version")]
    if not any(_name(f) == "content-type" for f in content):
        content.insert(0, b"Content-Type: text/plain; charset=us-ascii\r\n")
    content = [_marked(f) if _name(f) == "content-type" else f for f in content]
    protected = [f for f in others if _name(f) in {n.lower() for n in _PROTECTED}]
    signed = b"".join(content + protected) + b"\r\n" + body
    signature = cms.sign_detached(cms.read_content(BytesIO(signed)), signer, at=at)
    return _assemble(others, signed, complete(signature))


def _marked(content_type: bytes) -> bytes:
    """RFC 9788 §2.1.1: hp="clear" says that the header fields beside it repeat those of the mail."""
    return content_type.rstrip(b"\r\n").rstrip(b";") + b';\r\n hp="clear"\r\n'


_OUR_MARK = "cpxd-"
_VERSION = b"MIME-Version: 1.0\r\n"
_SIGNATURE_HEAD = (
    b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\nContent-Transfer-Encoding: base64\r\n'
    b'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n'
)


def _kind(boundary: bytes) -> bytes:
    return (
        b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
        b' micalg=sha-256; boundary="%s"\r\n' % boundary
    )


def _assemble(outer: list[bytes], signed: bytes, signature: bytes) -> bytes:
    boundary = f"{_OUR_MARK}{secrets.token_hex(16)}".encode()
    head = b"".join(outer) + _VERSION + _kind(boundary) + b"\r\n"
    parts = (signed, _SIGNATURE_HEAD + _base64_lines(signature))
    return head + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


def _as_we_wrote(mail: bytes, boundary: str, second: bytes, signature: bytes) -> bool:
    """Whether the frame of a mail of ours is what we wrote: nothing in it is covered by the signature."""
    frame = [f for f in _fields(_split(mail)[0]) if _name(f) in (*_OF_CONTENT, "mime-version")]
    wanted = sorted((_VERSION, _kind(boundary.encode("ascii", "replace"))))
    return sorted(frame) == wanted and second == _SIGNATURE_HEAD + _base64_lines(signature)


def canonical(content: bytes) -> bytes:
    """RFC 8551 §3.1.1: CRLF line ends."""
    return _ENDS.sub(b"\r\n", content)


def _split(mail: bytes) -> tuple[bytes, bytes]:
    head, _, body = mail.partition(b"\r\n\r\n")
    return head + b"\r\n", body


def _fields(head: bytes) -> list[bytes]:
    found: list[bytes] = []
    for line in head.splitlines(keepends=True):
        if line[:1] in b" \t" and found:
            found[-1] += line
        elif b":" in line:
            found.append(line)
        else:
            raise bad_mail(tr("en-tête mal formé", "malformed header"))
    return found


def _name(field: bytes) -> str:
    return field.partition(b":")[0].strip().decode("ascii", "replace").lower()


def _base64_lines(value: bytes) -> bytes:
    text = base64.b64encode(value)
    return b"\r\n".join(text[i : i + 64] for i in range(0, len(text), 64)) + b"\r\n"


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MailParts:
    """The two parts of a multipart/signed, and the header fields that its signed part does not repeat as they are."""

    signed: bytes
    signature: bytes  # DER
    changed: tuple[str, ...]


def split_signed(mail: bytes) -> MailParts:
    """The parts of a signed mail. Raises BadSignature."""
    text = canonical(mail)
    message = parse_mail(text)
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/signed" or not boundary:
        raise BadSignature("multipart/signed")
    if len(message.get_all("Content-Type", ())) != 1:  # which one counts is not said
        raise BadSignature("Content-Type")
    if message.get_param("protocol") not in ("application/pkcs7-signature", "application/x-pkcs7-signature"):
        raise BadSignature("protocol")
    mark = b"\r\n--" + boundary.encode("ascii", "replace")
    pieces = text.split(mark)
    if len(pieces) != 4 or not pieces[3].startswith(b"--") or pieces[3][2:].strip():
        raise BadSignature("boundary")
    signed, second = pieces[1].removeprefix(b"\r\n"), pieces[2].removeprefix(b"\r\n")
    signature = _p7s(second)
    if boundary.startswith(_OUR_MARK) and (not _as_we_wrote(text, boundary, second, signature) or pieces[3] != b"--\r\n"):
        raise BadSignature("frame")
    return MailParts(signed, signature, _changed(text, signed))


def opaque_signed(mail: bytes) -> bytes | None:
    """The CMS of a mail that is signed as a whole (RFC 8551 §3.5.2, smime-type=signed-data), if it is one.

    Raises BadSignature, BadDocument.
    """
    message = parse_mail(canonical(mail))
    if message.get_content_type() not in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        return None
    if message.get_param("smime-type", "signed-data") != "signed-data":
        return None
    if str(message.get("Content-Transfer-Encoding", "")).strip().lower() != "base64":
        raise BadSignature("Content-Transfer-Encoding")
    try:
        return decode_base64(str(message.get_payload()))
    except BadXml:
        raise BadSignature("base64") from None


def changed_headers(mail: bytes, signed: bytes) -> tuple[str, ...]:
    """The header fields of a mail that what is signed does not repeat as they are."""
    return _changed(canonical(mail), signed)


def _p7s(part: bytes) -> bytes:
    inner = email.message_from_bytes(part, policy=email.policy.compat32)
    if inner.get_content_type() not in ("application/pkcs7-signature", "application/x-pkcs7-signature"):
        raise BadSignature("application/pkcs7-signature")
    if str(inner.get("Content-Transfer-Encoding", "")).strip().lower() != "base64":
        raise BadSignature("Content-Transfer-Encoding")
    try:
        return decode_base64(str(inner.get_payload()))
    except BadXml:
        raise BadSignature("base64") from None


def _changed(mail: bytes, signed: bytes) -> tuple[str, ...]:
    """Header fields that differ from what was signed; all of the protected ones that are there when none were."""
    protected = {n.lower() for n in _PROTECTED}
    outer = [f for f in _fields(_split(mail)[0]) if _name(f) in protected]
    inner_all = _fields(_split(signed)[0]) if b"\r\n\r\n" in signed else []
    inner = [f for f in inner_all if _name(f) in protected]
    if sorted(outer) == sorted(inner):
        return ()
    return tuple(sorted({_name(f) for f in outer if f not in inner} | {_name(f) for f in inner if f not in outer}))
