# SPDX-License-Identifier: Apache-2.0
"""Who asks for the PIN: the host program, our dialog at C_Login, or our dialog when a key is first used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from p11_daemon import Daemon, commands, refused, until
from p11_wire import Wire

from simulator import pinentry
from simulator.lab import Lab

OPTIONS = b"cpx1;DISPLAY=%3A99;LANG=fr_FR.UTF-8;"
AUT = b"CPS_PRIV_AUT"
LOGIN_REQUIRED, PROTECTED, FINAL = 0x4, 0x100, 0x20000


@contextmanager
def asking(lab: Lab, folder: Path, mode: str, answers: Sequence[str], more: str = "") -> Iterator[tuple[Daemon, Path]]:
    script = pinentry.install(folder / "dialog", answers)
    settings = f'[pkcs11]\npin = "{mode}"\n[dialog]\npinentry = "{script}"\n{more}'
    with Daemon(lab, settings, folder=folder) as daemon:
        yield daemon, script


def asked(script: Path) -> str:
    return "\n".join(pinentry.transcript(script))


def test_protected(lab: Lab, fresh: Daemon, short: Path) -> None:
    with asking(lab, short, "protected", ["cancel", "pin 1234"]) as (daemon, script), daemon.client(options=OPTIONS) as client:
        assert client.GetTokenInfo(0)[4] & (LOGIN_REQUIRED | PROTECTED) == LOGIN_REQUIRED | PROTECTED
        session = client.open(0)
        assert client.find(session, (0, 3)) == []
        refused(0x50, client.Login, session, 1, None)
        started = time.monotonic()
        client.Login(session, 1, None)
        assert time.monotonic() - started >= 0.5  # Firefox leaves its window open for ever when it is quicker
        assert "python" in asked(script) and "CPS3v3-" in asked(script)  # who asks, for which card
        key = client.private_key(session, AUT)
        assert len(client.sign(session, key, 0x40, b"data")) == 256
        client.Logout(session)
        client.login(session)  # a PIN that the host brings all the same


def test_agent(lab: Lab, fresh: Daemon, short: Path) -> None:
    with asking(lab, short, "agent", ["cancel", "pin 9999", "* pin 1234"]) as (daemon, script):
        with daemon.client(options=OPTIONS) as client:
            assert client.GetTokenInfo(1)[4] & (LOGIN_REQUIRED | PROTECTED) == 0
            session = client.open(1)
            key = client.private_key(session, AUT)
            assert client.read(session, key, 0x2) == [0]  # not private
            assert client.find(session, (0x3, b"CPS_ACTIVITY_01_PS")) == []  # situations stay hidden
            assert asked(script) == ""
            for rv in (0x50, 0xA0):
                client.SignInit(session, 0x40, key)
                refused(rv, client.Sign, session, b"data", 256)
            assert len(client.sign(session, key, 0x40, b"data")) == 256
            runs = asked(script).count("--")
            assert len(client.sign(session, key, 0x40, b"data")) == 256
            assert asked(script).count("--") == runs  # once is enough
            assert len(client.find(session, (0x3, b"CPS_ACTIVITY_01_PS"))) == 1
        with daemon.client(options=OPTIONS) as other:  # but not for another program
            session = other.open(1)
            other.sign(session, other.private_key(session, AUT), 0x40, b"data")
            assert asked(script).count("--") > runs


def test_nowhere_to_ask(lab: Lab, fresh: Daemon, short: Path) -> None:
    """No display, no terminal: an error at once, no hang."""
    with Daemon(lab, '[pkcs11]\npin = "protected"\n', folder=short) as daemon, daemon.client() as client:
        started = time.monotonic()
        refused(0x200, client.Login, client.open(0), 1, None)
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(("answer", "done"), [("pin dernier", True), ("pin premier", False), ("cancel", False)])
def test_last_try(lab: Lab, fresh: Daemon, short: Path, answer: str, done: bool) -> None:
    with asking(lab, short, "host", [answer]) as (daemon, script), daemon.client(options=OPTIONS) as client:
        session = client.open(0)
        for pin in (b"9999", b"8888"):
            refused(0xA0, client.Login, session, 1, pin)
        assert client.GetTokenInfo(0)[4] & FINAL
        assert asked(script) == ""
        start = len(lab.card(0).trace)
        if done:
            client.login(session)
            assert client.GetTokenInfo(0)[4] & FINAL == 0
        else:
            refused(0x200, client.Login, session, 1, b"1234")
            assert commands(lab.card(0).trace, start) == 1  # the counter, and no VERIFY
        assert "dernier" in asked(script)


def test_a_program_that_dies_takes_its_dialog_along(lab: Lab, fresh: Daemon, short: Path) -> None:
    with asking(lab, short, "protected", ["hang", "pin 1234"]) as (daemon, script):
        dying = daemon.client(options=OPTIONS)
        dying.send("Login", dying.open(0), 1, None)
        until(lambda: "GETPIN" in asked(script))
        dying.close()
        with daemon.client(options=OPTIONS) as client:
            session = client.open(0)
            client.Login(session, 1, None)
            assert client.GetSessionInfo(session)[1] == 3


def test_others_go_on_while_a_person_types(lab: Lab, fresh: Daemon, short: Path) -> None:
    with asking(lab, short, "protected", ["hang"]) as (daemon, script):
        waiting = daemon.client(options=OPTIONS)
        waiting.send("Login", waiting.open(0), 1, None)
        until(lambda: "GETPIN" in asked(script))
        with daemon.client(options=OPTIONS) as client:
            session = client.open(0)
            client.login(session)  # the card is not held meanwhile
            assert len(client.sign(session, client.private_key(session, AUT), 0x40, b"data")) == 256
        waiting.close()


def test_chain(lab: Lab, fresh: Daemon, short: Path) -> None:
    """Issuing certificates are offered when they are known: those of the test authorities by a setting."""

    def authorities(client: Wire) -> list[bytes]:
        session = client.open(0)
        found = client.find(session, (0, 1), (0x87, 2))
        return [client.read(session, handle, 0x11)[0] for handle in found]

    with fresh.client() as client:
        assert authorities(client) == []
    pki = lab.env["CPX_SIM_PKI"]
    with Daemon(lab, f'[pkcs11]\nchain = "{pki}"\n', folder=short) as daemon, daemon.client() as client:
        from cryptography import x509

        found = [x509.load_der_x509_certificate(der) for der in authorities(client)]
        session = client.open(0)
        (own,) = client.find(session, (0, 1), (3, b"Certificat d'Authentification CPS"))
        leaf = x509.load_der_x509_certificate(client.read(session, own, 0x11)[0])
        issuer = next(certificate for certificate in found if certificate.subject == leaf.issuer)
        leaf.verify_directly_issued_by(issuer)
        root = next(certificate for certificate in found if certificate.subject == issuer.issuer)
        issuer.verify_directly_issued_by(root)
        assert client.read(session, client.find(session, (0, 1), (0x87, 2))[0], 0x86) == [0]  # never trusted by us
