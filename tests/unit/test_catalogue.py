# SPDX-License-Identifier: Apache-2.0
"""The catalogue of personas, cards made of a file, and the card of the recorded exchanges."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import trace_model
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from simulator import imagefile, kit, personalise, personas, source, tracemodel
from simulator.cardos import make_card
from simulator.catalogue import generate
from simulator.cli import main
from simulator.errors import InputError
from simulator.image import Model
from simulator.personas.tables import FUTURE_PROFESSIONS, PROFESSIONS
from simulator.pki import TestPki

NAMES = personas.catalogue_names()


def test_the_files_are_those_the_tables_make() -> None:
    folder = Path(generate.__file__).parent
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.toml")} == generate.files()


def test_it_covers_every_profession_kind_and_case() -> None:
    people = [personas.load(name) for name in NAMES]
    assert len(people) >= 40
    assert {p.holder.profession for p in people} >= set(PROFESSIONS)
    assert {p.holder.future_profession for p in people} >= set(FUTURE_PROFESSIONS)
    assert {p.kind for p in people} == {"CPS", "CPF", "CPE", "CDE", "CPA", "CDA"}
    assert {len(p.situations) for p in people} >= {0, 1, 2, 3, 16}
    assert any([s.number for s in p.situations] == [1, 3, 16] for p in people)
    names = [p.holder.family_name or "" for p in people]
    assert {1, 80} <= {len(name) for name in names}
    assert any(p.anonymous for p in people) and any(p.holder.given_names == "" for p in people)
    assert {p.revocation.reason for p in people if p.revocation} == {
        "affiliationChanged",
        "superseded",
        "cessationOfOperation",
        "unspecified",
    }
    assert {p.card.expires_in_days for p in people} >= {-1, 0, 30, 31}
    assert {p.holder.identifier[0] for p in people} == set("0134568")


def test_no_two_cards_are_the_same_nor_one_of_the_shipped() -> None:
    everyone = [personas.load(name) for name in (*NAMES, *personas.names())]
    for values in (
        [p.card.number for p in everyone],
        [serial for p in everyone for serial in (p.card.serial_cps3, p.card.serial_cps4)],
        [p.holder.identifier for p in everyone],
        [p.name for p in everyone],
    ):
        assert len(set(values)) == len(values)


def test_cards_of_a_key_set_share_keys_and_nothing_else() -> None:
    pki = TestPki()
    people = [p for p in map(personas.load, NAMES) if p.key_set == "catalogue-1"][:2]
    one, other = (pki.issue(p, "cps4", "signature") for p in people)
    assert one.key.public_key() == other.key.public_key()
    assert (
        x509.load_der_x509_certificate(one.certificate).serial_number
        != x509.load_der_x509_certificate(other.certificate).serial_number
    )


# --- make -----------------------------------------------------------------------------------------------------------


def test_make_writes_the_card_and_what_a_verifier_needs(tmp_path: Path) -> None:
    path = tmp_path / "essai.toml"
    path.write_text(generate.files()["cat-opposee-situation.toml"], encoding="utf-8")
    found = kit.make(path, tmp_path / "out")
    assert (found["kind"], found["revoked"], found["situations"], found["models"]) == ("CPS", True, [1], ["cps3", "cps4"])
    out = tmp_path / "out"
    revoked = x509.load_der_x509_crl((out / "ACI-FO-PP-TEST.crl").read_bytes())
    for name in ("cps3-signature", "cps3-authentication", "cps4-signature", "cps4-authentication"):
        certificate = x509.load_der_x509_certificate((out / f"{name}.cer").read_bytes())
        assert revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    document = json.loads((out / "card-cps4.json").read_text(encoding="ascii"))
    image = personalise.personalise(personas.load(path), "cps4")
    again = imagefile.from_json(document, image.keys, image.pins)
    assert again == image
    assert b"PRIVATE" not in b"".join(file.read_bytes() for file in out.iterdir())


@pytest.mark.parametrize("text", ["", "kind = 3", 'kind = "CPS"\n'])
def test_make_says_what_is_wrong(tmp_path: Path, text: str) -> None:
    path = tmp_path / "essai.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="essai"):
        kit.make(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_make_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out"):
        kit.make(Path(generate.__file__).parent / "cat-cda.toml", tmp_path / "out")


# --- the card of the traces -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "situations"), [("cps3", 2), ("cps3", 16), ("cps4", 2), ("cps4", 16), ("cps3cl", 2)])
def test_its_data_are_what_the_traces_show(model: Model, situations: int) -> None:
    assert trace_model.trace_image(model, situations) == trace_model.described(model, situations)


@pytest.mark.parametrize(("model", "usages"), [("cps3", 2), ("cps4", 2), ("cps3cl", 1)])
def test_its_certificates_fit_its_keys_and_keep_their_size(tmp_path: Path, model: Model, usages: int) -> None:
    recorded = {file.path: file for file in trace_model.trace_image(model).files}
    image = tracemodel.image("trace-model", model, tmp_path)
    certificates = {
        usage: next(f for f in image.files if f.path == path)
        for usage, path in tracemodel.CERTIFICATES.items()
        if any(f.path == path and f.content for f in image.files)
    }
    assert len(certificates) == usages
    for usage, file in certificates.items():
        before = recorded[file.path]
        assert (len(file.content), file.size) == (len(before.content), before.size) and file.content != before.content
        certificate = x509.load_der_x509_certificate(file.content)
        key = next(key.private_key for key in image.keys if key.usage == usage)
        certificate.public_key().verify(  # type: ignore[union-attr, call-arg]  # an RSA key
            key.sign(b"essai", padding.PKCS1v15(), hashes.SHA256()), b"essai", padding.PKCS1v15(), hashes.SHA256()
        )
        subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert subject == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    assert [f for f in image.files if f.path not in {c.path for c in certificates.values()}] == [
        f for f in recorded.values() if f.path not in {c.path for c in certificates.values()}
    ]
    assert make_card(image).atr == image.atr


def test_it_is_a_card_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPX_SIM_KEYS", str(tmp_path / "keys"))
    card = source.make("trace-model-16:cps4", state_file=tmp_path / "state.json")
    assert card.atr == personalise.ATRS["cps4"]
    assert json.loads((tmp_path / "state.json").read_text())["codes"]["1"]["tries_left"] == 3
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


# --- the command line -----------------------------------------------------------------------------------------------


def cpx_sim(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["--lang", "en", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_personas_all(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(cpx_sim(capsys, "personas", "--all", "--json")[1])
    assert [p["name"] for p in found] == [*personas.names(), *NAMES]
    assert len(json.loads(cpx_sim(capsys, "personas", "--json")[1])) == len(personas.names())
    assert "cat-taxi" not in cpx_sim(capsys, "personas")[1] and "cat-cde-taxi" in cpx_sim(capsys, "personas", "--all")[1]


def test_make(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = Path(generate.__file__).parent / "cat-categorie-reelle.toml"
    status, out, err = cpx_sim(capsys, "make", str(path), "--model", "cps4", "--out", str(tmp_path / "kit"), "--json")
    assert (status, err) == (0, "") and json.loads(out)["models"] == ["cps4"]
    certificate = x509.load_der_x509_certificate((tmp_path / "kit" / "cps4-signature.cer").read_bytes())
    extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.250.1.71.1.2.5")).value
    assert isinstance(extension, x509.UnrecognizedExtension) and extension.value == b"\x04\x01\x00", "it says that it is real"
    assert "TEST" in certificate.issuer.rfc4514_string(), "and who issued it does not"
    assert sorted(f.name for f in (tmp_path / "kit").glob("card-*")) == ["card-cps4.json"]
    status, out, _ = cpx_sim(capsys, "make", str(path))
    assert status == 0 and "cpx-sim lab --card" in out
    status, out, err = cpx_sim(capsys, "make", str(tmp_path / "none.toml"))
    assert (status, out) == (40, "") and err.count("\n") == 1
