# SPDX-License-Identifier: Apache-2.0
"""A teleservice (`--site`): whose fault it is when it does not work. What it answers badly is not the card's fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.request import getproxies, proxy_bypass

from cpxd.doctor import remote
from cpxd.doctor.model import Check, Family, Finding, Findings, Fix, Verdict, command, error, gesture, ok, unknown, warning
from cpxd.doctor.remote import Seen
from cpxd.doctor.visit import Visit
from cpxd.errors import CpxError
from cpxd.text import Text

_SKEW = timedelta(minutes=5)
_OTHERS = Fix(
    "phone",
    Text(
        "Prévenez l'assistance de ce service ; ni la carte ni le poste ne sont en cause",
        "Tell the support of that service; neither card nor workstation is at fault",
    ),
)
_NETWORK = gesture("Vérifiez le réseau de ce poste : câble, Wi-Fi, VPN", "Check this workstation's network: cable, Wi-Fi, VPN")
_SERVER_CERTIFICATES = {
    "9": Text("n'est pas encore valable", "is not valid yet"),
    "10": Text("a expiré", "has expired"),
    "62": Text("est au nom d'un autre site", "is for another site"),
}
# alerts of a server that wants a certificate and was given none (RFC 8446, 6.2; TLS 1.2 has but the general one). In TLS 1.3 it
# comes after the handshake, and may be lost when the server hangs up at once: who asked, and then left, is taken to want one.
_WANTED_A_CARD = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE", "SSLV3_ALERT_BAD_CERTIFICATE")


def _site(visit: Visit) -> Findings:
    if visit.options.site is None:
        return
    seen = remote.probe(visit.options.site)
    if seen.step in ("name", "connection") and (proxy := getproxies().get("https")) and not proxy_bypass(seen.host):
        yield _behind(seen, proxy)
    elif seen.step == "name":
        yield _nameless(seen)
    elif seen.step == "connection":
        yield _unreached(seen)
    elif seen.step == "server certificate":
        yield _mistrusted(seen)
    elif seen.asks and (
        (seen.step == "tls" and seen.why in _WANTED_A_CARD) or (seen.step == "answer" and seen.why != "ETIMEDOUT")
    ):
        yield _asks(seen)
        yield from _meets(visit, seen)
    elif seen.step in ("tls", "answer"):
        yield _theirs(
            seen,
            "CPX-233",
            Text(f"{seen.host} rompt la connexion sécurisée.", f"{seen.host} breaks the secure connection."),
            Text(f"TLS : {seen.why}.", f"TLS: {seen.why}."),
        )
    else:
        yield from _answered(visit, seen)


def _behind(seen: Seen, proxy: str) -> Finding:
    """Where a proxy is the only way out neither name nor connection says anything."""
    where = proxy.rpartition("@")[2]  # without the password that may stand before it
    return unknown(
        "site",
        "CPX-230",
        Text(f"{seen.host} n'est pas joignable directement.", f"{seen.host} cannot be reached directly."),
        Text(
            f"Ce poste passe par un proxy ({where}), que ce diagnostic ne suit pas.",
            f"This workstation goes through a proxy ({where}), which this diagnosis does not follow.",
        ),
        gesture("Ouvrez l'adresse dans le navigateur, qui suit le proxy", "Open the address in the browser, which follows it"),
        why=seen.why,
    )


def _nameless(seen: Seen) -> Finding:
    if seen.why == "EAI_NONAME":
        return error(
            "site",
            "CPX-231",
            Text(f"{seen.host} n'existe pas.", f"{seen.host} does not exist."),
            Text("Le nom de ce site est inconnu.", "The name of that site is not known."),
            gesture("Vérifiez l'adresse du service", "Check the address of the service"),
            why=seen.why,
        )
    return error(
        "site",
        "CPX-230",
        Text("Ce poste ne trouve aucun nom de site (DNS).", "This workstation finds no names of sites (DNS)."),
        Text("La carte n'est pas en cause.", "The card is not at fault."),
        _NETWORK,
        why=seen.why,
    )


def _unreached(seen: Seen) -> Finding:
    if seen.why in ("ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL"):
        return error(
            "site",
            "CPX-230",
            Text(f"Ce poste n'a pas de chemin vers {seen.host}.", f"This workstation has no way to {seen.host}."),
            Text("La carte n'est pas en cause.", "The card is not at fault."),
            _NETWORK,
            why=seen.why,
        )
    cause = Text("Il refuse les connexions.", "It refuses connections.")
    if seen.why == "ETIMEDOUT":
        cause = Text("Aucune réponse : panne, ou pare-feu en chemin.", "No answer: an outage, or a firewall on the way.")
    title = Text(f"{seen.host} (port {seen.port}) ne répond pas.", f"{seen.host} (port {seen.port}) does not answer.")
    return _theirs(seen, "CPX-232", title, cause)


def _mistrusted(seen: Seen) -> Finding:
    """Dates may be the clock of this workstation, which is looked at before; an unknown authority, a proxy that looks inside."""
    said = _SERVER_CERTIFICATES.get(seen.why)
    if said is not None:
        title = Text(f"Le certificat de {seen.host} {said.fr}.", f"The certificate of {seen.host} {said.en}.")
        return _theirs(seen, "CPX-233", title, Text("Les navigateurs refusent le site.", "Browsers refuse the site."))
    return warning(
        "site",
        "CPX-235",
        Text(
            f"L'autorité du certificat de {seen.host} n'est pas connue ici.",
            f"The authority of the certificate of {seen.host} is not known here.",
        ),
        Text(
            "Autorité IGC-Santé à installer, ou filtrage qui ouvre les connexions.",
            "An IGC-Santé authority to install, or a filter that opens connections.",
        ),
        Fix("phone", Text("Demandez à votre administrateur", "Ask your administrator")),
        verdict=Verdict.ADMIN,
        why=seen.why,
    )


def _answered(visit: Visit, seen: Seen) -> Findings:
    now, status = visit.machine.now(), seen.status or 0
    if seen.date is not None and abs(now - seen.date) > _SKEW:
        yield _clock(visit, seen, now, seen.date)
    if status >= 500 or status == 429:
        yield _theirs(
            seen,
            "CPX-234",
            Text(
                f"{seen.host} est en panne ou surchargé (HTTP {status}).", f"{seen.host} is down or overloaded (HTTP {status})."
            ),
            Text("Il a répondu : le chemin jusqu'à lui est bon.", "It answered: the way to it is good."),
        )
    elif status in (404, 410):
        yield error(
            "site",
            "CPX-231",
            Text(f"{seen.host} répond, cette page n'existe pas.", f"{seen.host} answers, that page does not exist."),
            Text(f"HTTP {status}.", f"HTTP {status}."),
            gesture("Vérifiez l'adresse du service", "Check the address of the service"),
            status=status,
        )
    else:
        yield _asks(seen) if seen.asks else _open(seen)
    if seen.asks:
        yield from _meets(visit, seen)


def _asks(seen: Seen) -> Finding:
    return ok(
        "site",
        f"{seen.host} répond, et demande un certificat : la carte.",
        f"{seen.host} answers, and asks for a certificate: the card.",
        tls=seen.tls,
        status=seen.status,
    )


def _open(seen: Seen) -> Finding:
    return ok(
        "site",
        f"{seen.host} répond (HTTP {seen.status}) ; cette adresse ne demande pas la carte.",
        f"{seen.host} answers (HTTP {seen.status}); that address does not ask for the card.",
        tls=seen.tls,
        status=seen.status,
    )


def _meets(visit: Visit, seen: Seen) -> Findings:
    """A CPS3 cannot sign RSA-PSS, and TLS 1.3 wants nothing else of an RSA key (docs/BROWSERS.md)."""
    try:
        generation = visit.card().record.card.generation
    except CpxError:
        return
    if generation == "CPS3" and seen.tls == "TLSv1.3":
        yield _theirs(
            seen,
            "CPX-237",
            Text(f"{seen.host} et une CPS3 ne peuvent pas s'entendre.", f"{seen.host} and a CPS3 cannot come together."),
            Text(
                "Il demande la carte en TLS 1.3, qu'une CPS3 ne signe pas ; TLS 1.2 irait.",
                "It asks for the card in TLS 1.3, which a CPS3 cannot sign; TLS 1.2 would do.",
            ),
        )


def _clock(visit: Visit, seen: Seen, now: datetime, theirs: datetime) -> Finding:
    minutes = int(abs(now - theirs).total_seconds()) // 60
    title = Text(
        f"Ce poste et {seen.host} diffèrent de {minutes} min.", f"This workstation and {seen.host} differ by {minutes} min."
    )
    cause = Text(
        "Une des deux horloges est fausse ; l'heure compte dans un jeton.", "One of the clocks is wrong; tokens carry the time."
    )
    fix = command("sudo timedatectl set-ntp true" if visit.machine.systemd else "date")
    return warning(
        "site",
        "CPX-236",
        title,
        cause,
        fix,
        verdict=Verdict.ADMIN,
        here=f"{now.astimezone(UTC):%Y-%m-%d %H:%M}Z",
        there=f"{theirs.astimezone(UTC):%Y-%m-%d %H:%M}Z",
    )


def _theirs(seen: Seen, code: str, title: Text, cause: Text) -> Finding:
    return warning("site", code, title, cause, _OTHERS, step=seen.step, why=seen.why, status=seen.status or "")


FAMILY = Family(
    "site",
    Text("Téléservice (--site)", "Teleservice (--site)"),
    (
        Check(
            "site",
            Text("Téléservice", "Teleservice"),
            ("CPX-230", "CPX-231", "CPX-232", "CPX-233", "CPX-234", "CPX-235", "CPX-236", "CPX-237"),
            _site,
        ),
    ),
)
