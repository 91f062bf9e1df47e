# SPDX-License-Identifier: Apache-2.0
"""The three listeners together, on 127.0.0.1 alone: provider, card step, relying page."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from aiohttp import web

from simulator.errors import InputError, unusable
from simulator.pki import PkiError, TestPki
from simulator.psc import cardtls, servercert
from simulator.psc.admission import Admission
from simulator.psc.demo import PATH as demo_path
from simulator.psc.demo import DemoSite
from simulator.psc.ecps import EcpsSite
from simulator.psc.oidc import Client, Provider
from simulator.psc.provider import ProviderSite, metadata
from simulator.psc.relying import CALLBACK, LOGGED_OUT, RelyingSite
from simulator.psc.settings import REALM, Options
from simulator.psc.web import application, log

_HOST = "127.0.0.1"
_RELYING_CLIENT = "cpx-sim-relying"
_STOP_SECONDS = 2.0
_CA, _CARD_CA = "ca.pem", "igc-sante-test.pem"


@dataclass(frozen=True)
class Addresses:
    """What a client needs to know; printed as one JSON line."""

    issuer: str
    discovery: str
    authorization: str
    relying: str
    demo: str  # the page that asks the local API of cpxd
    card: str  # the TLS that asks for the card's certificate
    ecps: str  # activation
    ecps_requests: str  # where CIBA requests are answered
    ca: str  # file: trust it to reach the three servers
    card_ca: str  # file: the authorities whose cards are admitted
    client_id: str
    client_secret: str
    redirect_uris: list[str]


class Sandbox:
    """make_pki: the test PKI of the day. Raises InputError when a port, a folder or the PKI cannot be used."""

    def __init__(self, options: Options, make_pki: Callable[[], TestPki] = TestPki) -> None:
        self._options = options
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []
        self._temporary: Path | None = None
        try:
            self._admission = Admission(make_pki)
        except PkiError as error:
            raise InputError(error.french, error.english) from None

    async def start(self) -> Addresses:
        sockets = _sockets(self._options.port)
        try:
            folder = self._folder()
            origins = [f"https://localhost:{s.getsockname()[1]}" for s in sockets]
            return await self._start(sockets, folder, *origins)
        except BaseException:
            for opened in sockets:
                opened.close()
            await self.stop()
            raise

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for runner in self._runners:
            await runner.cleanup()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    async def _start(
        self, sockets: list[socket.socket], folder: Path, provider_at: str, card_at: str, relying_at: str
    ) -> Addresses:
        options, identity = self._options, servercert.make()
        context = self._write(folder, identity)
        relying = Client(_RELYING_CLIENT, secrets.token_urlsafe(32), (relying_at + CALLBACK,), (relying_at + LOGGED_OUT,))
        secret = options.client_secret or secrets.token_urlsafe(32)
        theirs = Client(options.client_id, secret, options.redirect_uris, options.logout_uris)
        provider = Provider(provider_at + REALM, [theirs, relying], options.failures, options.strict)
        site = ProviderSite(provider, self._admission, provider_at, card_at)
        ecps = EcpsSite(site)
        discovery = f"{provider_at}{REALM}/.well-known/wallet-openid-configuration"
        trust = ssl.create_default_context(cadata=identity.authority_pem.decode())
        client = RelyingSite(relying, relying_at, discovery, trust)
        demo = DemoSite(relying_at, options.api, self._admission.examine)

        ports = [s.getsockname()[1] for s in sockets]
        provider_app = application(ports[0], before=site.before)
        card_app = application(ports[1], before=site.before, one_request=True)
        await self._serve(provider_app, [*site.routes(), *ecps.routes()], sockets[0], context)
        await self._serve_card(card_app, site.card_routes(), sockets[1], identity)
        await self._serve(application(ports[2]), [*client.routes(), *demo.routes()], sockets[2], context)
        return Addresses(
            issuer=provider.issuer,
            discovery=discovery,
            authorization=metadata(provider_at)["authorization_endpoint"],
            relying=f"{relying_at}/",
            demo=relying_at + demo_path,
            card=card_at,
            ecps=f"{provider_at}/ecps",
            ecps_requests=f"{provider_at}/ecps/demandes",
            ca=str(folder / _CA),
            card_ca=str(folder / _CARD_CA),
            client_id=theirs.client_id,
            client_secret=secret,
            redirect_uris=list(theirs.redirect_uris),
        )

    def _write(self, folder: Path, identity: servercert.ServerCertificate) -> ssl.SSLContext:
        """The files that others trust, and the context of our own servers, whose key stays in memory."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            (folder / _CA).write_bytes(identity.authority_pem)
            (folder / _CARD_CA).write_bytes(self._admission.bundle())
            with _private_file(identity.key_and_certificate_pem) as path:
                context.load_cert_chain(path)
        except OSError as error:
            raise unusable(folder, error) from None
        return context

    async def _runner(self, app: web.Application, routes: list[web.RouteDef]) -> web.AppRunner:
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, logger=_silent(), handle_signals=False, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def _serve(self, app: web.Application, routes: list[web.RouteDef], at: socket.socket, context: ssl.SSLContext) -> None:
        runner = await self._runner(app, routes)
        await web.SockSite(runner, at, ssl_context=context).start()

    async def _serve_card(
        self, app: web.Application, routes: list[web.RouteDef], at: socket.socket, identity: servercert.ServerCertificate
    ) -> None:
        server = (await self._runner(app, routes)).server
        assert server is not None  # noqa: S101 - set up just now
        options = self._options
        authorities = self._admission.authorities(options.ca_names == "roots")
        refuse = "handshake" in options.failures
        context = cardtls.make_context(identity.certificate, identity.key, authorities, options.tls, refuse)
        hint = " (TLS 1.3 needs RSA-PSS, which a CPS3 cannot sign; --tls12)" if options.tls == "1.3" else ""

        def report(why: str) -> None:
            log(f"card step: no TLS: {why}{hint}")

        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: cardtls.CardConnection(context, server, report), sock=at))

    def _folder(self) -> Path:
        try:
            if self._options.folder is not None:
                self._options.folder.mkdir(parents=True, exist_ok=True)
                return self._options.folder.resolve()
            self._temporary = Path(tempfile.mkdtemp(prefix="cpx-sim-psc-"))
        except OSError as error:
            raise unusable(self._options.folder or tempfile.gettempdir(), error) from None
        return self._temporary


def _sockets(port: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    for offset in range(3):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        opened.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        number = port + offset if port else 0
        try:
            listener.bind((_HOST, number))
        except OSError as error:
            for other in opened:
                other.close()
            raise unusable(f"port {number}", error) from None
        listener.setblocking(False)
    return opened


@contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """A file that only memory holds: `ssl` takes keys from files alone."""
    descriptor = os.memfd_create("cpx-sim-psc", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _silent() -> logging.Logger:
    """For aiohttp, which logs malformed requests with tracebacks; errors of ours are told by `web`."""
    logger = logging.Logger("cpx-sim psc")
    logger.addHandler(logging.NullHandler())
    return logger


def _quiet(loop: asyncio.AbstractEventLoop) -> None:
    """A client that goes away is no news."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop.set_exception_handler(lambda _, context: log(f"{context.get('message', '')}: {context.get('exception', '')!r}"))


async def _until(options: Options, stop: asyncio.Event) -> None:
    import json

    sandbox = Sandbox(options)
    addresses = await sandbox.start()
    try:
        print(json.dumps(asdict(addresses)), flush=True)
        await stop.wait()
    finally:
        await sandbox.stop()


def serve(options: Options) -> int:
    """Prints the addresses, one JSON line, and serves until SIGINT, SIGTERM or SIGHUP. Raises InputError."""

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        _quiet(loop)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        await _until(options, stop)

    asyncio.run(run())
    return 0


@contextmanager
def running(options: Options | None = None, make_pki: Callable[[], TestPki] = TestPki) -> Iterator[Addresses]:
    """A sandbox in a thread of this process, for tests. Raises InputError."""
    loop = asyncio.new_event_loop()
    sandbox = Sandbox(options or Options(), make_pki)
    thread = threading.Thread(target=loop.run_forever, name="psc", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
