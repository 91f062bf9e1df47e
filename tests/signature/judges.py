# SPDX-License-Identifier: Apache-2.0
"""Verifiers that are not ours: OpenSSL, GnuPG, poppler (NSS), MuPDF, xmlsec1 (OpenSSL, NSS), José, xadesjs, Java (its own, Bouncy
Castle); and for XML signatures with PSS, which xmlsec1 of Debian 12 does not know, the canonical form of Python's own parser with
the arithmetic of OpenSSL.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DS = "{http://www.w3.org/2000/09/xmldsig#}"
_KINDS = [
    "http://uri.etsi.org/01903/v1.3.2#:SignedProperties",
    "http://www.w3.org/2000/09/xmldsig#:Object",
    "urn:oasis:names:tc:SAML:2.0:assertion:Assertion",
]


class Judges:
    """`ca`: PEM bundle of all authorities. Each method tells whether the verifier of its name believes the signature."""

    def __init__(self, ca: Path, folder: Path) -> None:
        self.ca, self.folder = ca, folder
        certificates = x509.load_pem_x509_certificates(ca.read_bytes())
        self.roots = self._pem("roots.pem", [c for c in certificates if c.subject == c.issuer])
        self.others = self._pem("others.pem", [c for c in certificates if c.subject != c.issuer])
        self._gnupg(certificates)
        self._nss()
        self._java: subprocess.Popen[str] | None = None
        self._xadesjs: subprocess.Popen[str] | None = None
        self._nss_program: Path | None = None
        self.said = ""  # why Java or xadesjs said no

    def _pem(self, name: str, certificates: list[x509.Certificate]) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in certificates))
        return path

    def put(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def run(self, *line: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"capture_output": True, "text": True, "errors": "replace", "timeout": 60, "cwd": self.folder, **options}
        return subprocess.run([str(word) for word in line], check=False, **options)

    # -- CMS -------------------------------------------------------------------------------------------------------

    def openssl_cms(self, signature: bytes, content: bytes | None, *more: str) -> bool:
        line = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", self.put("a.p7s", signature), "-CAfile", self.ca]
        line += ["-out", os.devnull, *more]
        if content is not None:
            line += ["-content", self.put("a.bin", content)]
        return self.run(*line).returncode == 0

    def gpgsm(self, signature: bytes, content: bytes | None) -> bool:
        line = [
            "gpgsm",
            "--homedir",
            self.home,
            "--batch",
            "--disable-dirmngr",
            "--disable-crl-checks",
            "--disable-policy-checks",
        ]
        line += ["--status-fd", "1", "--verify", self.put("b.p7s", signature)]
        if content is not None:
            line.append(self.put("b.bin", content))
        done = self.run(*line)
        return done.returncode == 0 and "VALIDSIG" in done.stdout

    def gpgsm_encrypt(self, content: bytes, certificate: bytes) -> bytes:
        """A CMS in PEM, which is what GnuPG encrypts for a certificate."""
        path = self.put("to.crt", certificate)
        home = ["gpgsm", "--homedir", str(self.home), "--batch", "--disable-dirmngr"]
        assert self.run(*home, "--import", path).returncode == 0
        name = hashlib.sha1(certificate).hexdigest().upper()  # noqa: S324 - how GnuPG names certificates
        more = ["--disable-crl-checks", "--disable-policy-checks", "--yes", "--armor", "-o", "gpg.p7m"]
        done = self.run(*home, *more, "--recipient", f"0x{name}", "--encrypt", self.put("gpg.txt", content))
        assert done.returncode == 0, done.stderr
        return (self.folder / "gpg.p7m").read_bytes()

    def pyhanko(self, signature: bytes, content: bytes) -> bool:
        """The library, from the bytes alone."""
        from pyhanko.sign.validation.generic_cms import validate_sig_integrity

        signed = cms.ContentInfo.load(signature)["content"]
        number = signed["signer_infos"][0]["sid"].chosen["serial_number"].native
        own = next(c.chosen for c in signed["certificates"] if c.chosen.serial_number == number)
        intact, valid = validate_sig_integrity(signed["signer_infos"][0], own, "data", hashlib.sha256(content).digest())
        return bool(intact and valid)

    def _gnupg(self, certificates: list[x509.Certificate]) -> None:
        self.home = Path(shutil.os.environ.get("TMPDIR", "/tmp")) / f"cpx-gpg-{os.getpid()}"  # noqa: S108 - a short socket path
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(mode=0o700)
        roots = [c for c in certificates if c.subject == c.issuer]
        marks = "".join(f"{hashlib.sha1(c.public_bytes(Encoding.DER)).hexdigest().upper()} S relax\n" for c in roots)  # noqa: S324
        (self.home / "trustlist.txt").write_text(marks, encoding="ascii")
        self.run("gpgsm", "--homedir", self.home, "--batch", "--disable-dirmngr", "--import", self.ca)

    def close(self) -> None:
        for process in (self._java, self._xadesjs):
            if process is not None and process.stdin and process.stdout:
                process.stdin.close()
                process.wait(30)
                process.stdout.close()
        self.run("gpgconf", "--homedir", self.home, "--kill", "all")
        shutil.rmtree(self.home, ignore_errors=True)

    # -- PDF -------------------------------------------------------------------------------------------------------

    def _nss(self) -> None:
        self.nss = self.folder / "nss"
        self.nss.mkdir()
        self.run("certutil", "-N", "-d", self.nss, "--empty-password")
        for number, certificate in enumerate(x509.load_pem_x509_certificates(self.ca.read_bytes())):
            path = self._pem("one.pem", [certificate])
            self.run("certutil", "-A", "-d", self.nss, "-n", f"ca{number}", "-t", "C,C,C", "-a", "-i", path)

    def pdfsig(self, document: bytes) -> str:
        return self.run("pdfsig", "-no-ocsp", "-nssdir", self.nss, self.put("a.pdf", document)).stdout

    def poppler(self, document: bytes) -> bool:
        said = self.pdfsig(document)
        return "Signature is Valid" in said and "Certificate is Trusted" in said and "is Invalid" not in said

    def mupdf(self, document: bytes) -> bool:
        return "unchanged since signing" in self.run("mutool", "sign", "-v", self.put("b.pdf", document)).stdout

    def openssl_pdf(self, document: bytes) -> bool:
        return self.openssl_cms(*cut_pdf(document), "-cades")

    # -- XML -------------------------------------------------------------------------------------------------------

    def xmlsec1(self, document: bytes, beside: tuple[str, bytes] | None = None) -> bool:
        line: list[str | Path] = ["xmlsec1", "--verify"]
        for option, bundle in (("--trusted-pem", self.roots), ("--untrusted-pem", self.others)):
            for certificate in x509.load_pem_x509_certificates(bundle.read_bytes()):  # it reads one of a file
                line += [option, self._pem(f"{certificate.serial_number}.pem", [certificate])]
        for kind in _KINDS:
            line += ["--id-attr:ID" if kind.endswith("Assertion") else "--id-attr:Id", kind]
        if beside is not None:
            self.put(*beside)
        return self.run(*line, self.put("a.xml", document)).returncode == 0

    def xmlsec_nss(self, document: bytes, beside: tuple[str, bytes] | None = None) -> bool:
        """xmlsec1 with its other back end, which Debian's command does not load."""
        if self._nss_program is None:
            flags = self.run("pkg-config", "--cflags", "--libs", "xmlsec1-nss").stdout.split()
            program = self.folder / "xmlsec_nss"
            line = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", program]
            done = self.run(*line, Path(__file__).with_name("xmlsec_nss.c"), *flags)
            assert done.returncode == 0, done.stderr
            self._nss_program = program
            for number, one in enumerate(x509.load_pem_x509_certificates(self.ca.read_bytes())):
                self.put(f"nss{number}.der", one.public_bytes(Encoding.DER))
        if beside is not None:
            self.put(*beside)
        return self.run(self._nss_program, self.put("n.xml", document), *sorted(self.folder.glob("nss*.der"))).returncode == 0

    def xadesjs(self, document: bytes, beside: tuple[str, bytes] | None = None) -> bool:
        """The arithmetic alone, by xadesjs over the Web Crypto of Node.js; whom the certificate leads to it does not ask."""
        if self._xadesjs is None:
            here, there = Path(__file__).with_name("xadesjs"), self.folder / "xadesjs"
            there.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(here / name, there)
            line = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(there)]
            done = self.run(*line, timeout=120)
            assert done.returncode == 0, done.stderr
            program = ["node", str(here / "judge.mjs"), str(there / "package.json")]
            self._xadesjs = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        paths = [self.put("x.xml", document), *([self.put("beside.xml", beside[1])] if beside else [])]
        self.said = _ask(self._xadesjs, "\t".join(map(str, paths)))
        return self.said == "right"

    def expat_openssl(self, document: bytes, beside: bytes = b"") -> bool:
        """Digests over the canonical form of expat, the value by OpenSSL. For what our signatures hold, no more."""
        root = ElementTree.fromstring(document)  # noqa: S314 - ours
        signature = root if root.tag == f"{DS}Signature" else next(root.iter(f"{DS}Signature"))
        info = signature.find(f"{DS}SignedInfo")
        assert info is not None
        for reference in info.findall(f"{DS}Reference"):
            wanted = base64.b64decode(reference.findtext(f"{DS}DigestValue") or "")
            if hashlib.sha256(self._covered(document, reference, beside)).digest() != wanted:
                return False
        value = base64.b64decode(signature.findtext(f"{DS}SignatureValue") or "")
        certificate = x509.load_der_x509_certificate(base64.b64decode(signature.findtext(f".//{DS}X509Certificate") or ""))
        method = info.find(f"{DS}SignatureMethod")
        pss = method is not None and "MGF1" in method.get("Algorithm", "")
        return self.openssl_value(_canonical(document, "SignedInfo"), value, certificate, pss=pss)

    def _covered(self, document: bytes, reference: ElementTree.Element, beside: bytes) -> bytes:
        uri = reference.get("URI", "")
        algorithms = [t.get("Algorithm", "") for t in reference.iter(f"{DS}Transform")]
        if uri and not uri.startswith("#"):
            return beside
        if any(a.endswith("#base64") for a in algorithms):
            root = ElementTree.fromstring(document)  # noqa: S314 - ours
            return base64.b64decode("".join(next(e for e in root.iter() if e.get("Id") == uri[1:]).itertext()))
        enveloped = any(a.endswith("enveloped-signature") for a in algorithms)
        return _canonical(document, "" if enveloped else uri, without_signature=enveloped)

    def openssl_value(self, content: bytes, value: bytes, certificate: x509.Certificate, *, pss: bool) -> bool:
        key = self.put("key.pem", certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        line = ["openssl", "dgst", "-sha256", "-verify", key, "-signature", self.put("value", value)]
        if pss:
            line += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
        return self.run(*line, self.put("content", content)).returncode == 0

    # -- Java ------------------------------------------------------------------------------------------------------

    def java(self, what: str, signature: bytes, beside: tuple[str, bytes] | None = None) -> bool:
        """`what`: cms, stamp, xml or jws. One Java serves all questions of a session."""
        if self._java is None:
            classes, jars = self.folder / "classes", ":".join(f"/usr/share/java/{n}.jar" for n in ("bcprov", "bcpkix", "bcutil"))
            source = Path(__file__).with_name("SignatureJudge.java")
            done = self.run("javac", "-Xlint:all,-path", "-Werror", "-cp", jars, "-d", classes, source)
            assert done.returncode == 0, done.stderr
            line = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}", "SignatureJudge", str(self.ca)]
            self._java = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        other = self.put(*beside) if beside else "-"
        self.said = _ask(self._java, f"{what}\t{self.put('judged.' + what, signature)}\t{other}")
        return self.said == "yes"

    # -- JWS, time stamps, revocation ------------------------------------------------------------------------------

    def openssl_jws(self, token: bytes) -> bool:
        head, payload, value = token.split(b".")
        header = json.loads(_unurl(head))
        certificate = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
        return self.openssl_value(head + b"." + payload, _unurl(value), certificate, pss=header["alg"].startswith("PS"))

    def jose(self, token: bytes, certificate: x509.Certificate) -> bool:
        numbers = certificate.public_key().public_numbers()  # type: ignore[union-attr]
        key = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}  # type: ignore[union-attr]
        path = self.put("key.jwk", json.dumps(key).encode())
        return self.run("jose", "jws", "ver", "-i", self.put("a.jws", token), "-k", path, "-O", os.devnull).returncode == 0

    def openssl_ts(self, token: bytes, content: bytes) -> bool:
        line = ["openssl", "ts", "-verify", "-token_in", "-in", self.put("a.tst", token), "-data", self.put("stamped", content)]
        return self.run(*line, "-CAfile", self.ca).returncode == 0

    def openssl_crl(self, crl: bytes) -> bool:
        return (
            "verify OK"
            in self.run("openssl", "crl", "-noout", "-inform", "DER", "-in", self.put("a.crl", crl), "-CAfile", self.ca).stderr
        )

    def openssl_ocsp(self, response: bytes, certificate: bytes, issuer: bytes) -> bool:
        paths = [
            self.put(f"{n}.pem", x509.load_der_x509_certificate(d).public_bytes(Encoding.PEM))
            for n, d in (("s", certificate), ("i", issuer))
        ]
        line = [
            "openssl",
            "ocsp",
            "-respin",
            self.put("a.ors", response),
            "-issuer",
            paths[1],
            "-cert",
            paths[0],
            "-CAfile",
            self.ca,
        ]
        done = self.run(*line)
        return "Response verify OK" in done.stderr + done.stdout and ": good" in done.stdout


def _ask(process: subprocess.Popen[str], line: str) -> str:
    """A judge that stays: one line, one answer."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    said = process.stdout.readline().strip()
    assert said, "the judge has ended"
    return said


def cut_pdf(document: bytes) -> tuple[bytes, bytes]:
    """The first CMS of a PDF and what it is over, cut out by its ByteRange."""
    ranges = re.findall(rb"/ByteRange\s*\[\s*(\d+) (\d+) (\d+) (\d+)\s*\]", document)
    start, length, again, rest = (int(n) for n in ranges[0])
    contents = bytes.fromhex(document[length + 1 : again - 1].decode())
    return cms.ContentInfo.load(contents).dump(), document[start:length] + document[again : again + rest]


def _canonical(document: bytes, part: str, *, without_signature: bool = False) -> bytes:
    """Exclusive canonical form, by the C14N 2.0 writer of Python over expat: the same bytes for a subtree that declares all its
    namespaces, which it does here by being written out alone. `part`: a ds: element name, "#id", or "" for the document.
    """
    text = document.decode()
    if without_signature:
        text = re.sub(r"<ds:Signature[ >].*</ds:Signature>", "", text, flags=re.S)
    elif part.startswith("#"):
        name = re.search(rf'<([\w:]+)[^<>]* (?:Id|ID)="{part[1:]}"', text)
        assert name is not None
        text = _cut(text, name[1], f'{part[1:]}"')
    elif part:
        text = _cut(text, f"ds:{part}", "")
    return ElementTree.canonicalize(text).encode()


def _cut(text: str, name: str, mark: str) -> str:
    """An element with the namespaces it uses declared on it."""
    start = next(
        m.start() for m in re.finditer(rf"<{name}[ >]", text) if mark in text[m.start() : text.index(">", m.start()) + 1]
    )
    end = text.index(f"</{name}>", start) + len(f"</{name}>")
    element = text[start:end]
    declared = {"ds": "http://www.w3.org/2000/09/xmldsig#", "xades": "http://uri.etsi.org/01903/v1.3.2#"}
    needed = "".join(
        f' xmlns:{p}="{u}"' for p, u in declared.items() if f"<{p}:" in element and f"xmlns:{p}=" not in element.split(">")[0]
    )
    return element.replace(f"<{name}", f"<{name}{needed}", 1)


def _unurl(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
