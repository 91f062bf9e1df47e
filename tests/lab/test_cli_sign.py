# SPDX-License-Identifier: Apache-2.0
"""`cpxd sign`: what it writes is believed by OpenSSL, and it writes nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asn1crypto import cms
from cpxd_lab import (
    MODELS,
    PIN,
    Mover,
    Result,
    Terminal,
    Wrapped,
    card,
    card_with_codes,
    command,
    cpxd,
    fails,
    succeeds,
    tries,
    with_codes,
)

from simulator.lab import Lab

TEXT = "Ordonnance : paracétamol 1 g, trois fois par jour.\r\n".encode()


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / "ordonnance.txt"
    path.write_bytes(TEXT)
    return path


def openssl(lab: Lab, signature: Path, signed: Path) -> subprocess.CompletedProcess[str]:
    """`openssl cms -verify`, trusting the test authorities of the lab alone."""
    ca = str(Path(lab.env["CPX_SIM_PKI"], "ca.pem"))
    line = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", signed, "-CAfile", ca]
    return subprocess.run([*line, "-out", os.devnull], capture_output=True, text=True, check=False)


def believed(lab: Lab, signature: Path, signed: Path) -> None:
    said = openssl(lab, signature, signed)
    assert said.returncode == 0 and "successful" in said.stderr, said.stderr


def only(folder: Path, *names: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("model", MODELS)
def test_signature_beside_the_file(desk: Lab, paper: Path, model: str) -> None:
    virtual = card(model=model)
    handle = desk.insert(0, virtual)
    assert "ordonnance.txt.p7s" in succeeds(command(desk, "sign", str(paper), codes=[PIN])).out
    believed(desk, Path(f"{paper}.p7s"), paper)
    only(paper.parent, "ordonnance.txt", "ordonnance.txt.p7s")
    assert paper.read_bytes() == TEXT and tries(virtual) == 3
    assert len(with_codes(handle.trace)) == 1


@pytest.mark.parametrize("model", MODELS)
def test_what_the_signature_is(desk: Lab, paper: Path, model: str) -> None:
    """CMS, detached, SHA-256, by the signature key (non-repudiation), with the certificate in it."""
    desk.insert(0, card(model=model))
    succeeds(cpxd(desk, "sign", str(paper), codes=[PIN]))
    info = cms.ContentInfo.load(Path(f"{paper}.p7s").read_bytes(), strict=True)
    assert info["content_type"].native == "signed_data"
    signed = info["content"]
    assert signed["encap_content_info"]["content_type"].native == "data"
    assert signed["encap_content_info"]["content"].native is None
    (signer,) = signed["signer_infos"]
    assert signer["digest_algorithm"]["algorithm"].native == "sha256"
    attributes = {attribute["type"].native for attribute in signer["signed_attrs"]}
    assert {"content_type", "message_digest", "signing_time"} <= attributes
    certificates = [choice.chosen for choice in signed["certificates"]]
    number = signer["sid"].chosen["serial_number"].native
    (own,) = [certificate for certificate in certificates if certificate.serial_number == number]
    assert own.key_usage_value.native == {"non_repudiation"}
    assert own.subject.native["given_name"] == "ALIENOR" or "ALIENOR" in str(own.subject.native)


@pytest.mark.parametrize(
    ("options", "place"),
    [((), "-o"), (("--format", "jws", "-o", "out"), "fichier ordinaire"), (("--enveloping", "-o", "out"), "fichier ordinaire")],
)
def test_a_pipe_has_no_place_beside_it_and_is_read_once(
    desk: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], place: str
) -> None:
    """Nobody writes there: refused before it is opened, and before a code is asked for."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    handle = desk.insert(0, card())
    assert place in fails(command(desk, "sign", "pipe", *options, codes=[PIN]), 40)
    only(tmp_path, "pipe")
    assert handle.trace == []


def test_a_pipe_that_nothing_comes_through_is_left_with_ctrl_c(desk: Lab, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Terminal(desk, "sign", str(pipe), "-o", str(tmp_path / "out")) as terminal:
        writer, end = None, time.monotonic() + 30
        while writer is None and time.monotonic() < end:
            time.sleep(0.01)
            with contextlib.suppress(OSError):  # ENXIO until it is read, fifo(7)
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        assert writer is not None
        terminal.type("\x03")
        assert terminal.finish() == 30
        os.close(writer)
    assert terminal.screen.count("\n") == 1 and "CPX-138" in terminal.screen
    only(tmp_path, "pipe")


def test_what_is_no_file_is_not_written_to(desk: Lab, paper: Path) -> None:
    """/dev/stdout, which is a pipe here, by its name and not as /proc has it."""
    desk.insert(0, card())
    said = fails(command(desk, "sign", str(paper), "-o", "/dev/stdout", codes=[PIN]), 40)
    assert "/dev/stdout" in said and "fichier ordinaire" in said


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [0, 1, 5_000_000], ids=["empty", "one byte", "5 MB"])
def test_sizes(desk: Lab, tmp_path: Path, model: str, size: int) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(251)) * (size // 251) + b"\x1a" * (size % 251))
    desk.insert(0, card(model=model))
    succeeds(cpxd(desk, "sign", str(path), codes=[PIN]))
    believed(desk, Path(f"{path}.p7s"), path)


@pytest.mark.parametrize(
    "name",
    ["Compte rendu d'été – n° 1 €.pdf", "漢字 עברית.txt", b"latin1-\xe9t\xe9.txt", "line\nbreak.txt", "-o.txt", " .txt"],
    ids=["french", "far away", "not UTF-8", "line break", "dash", "space"],
)
def test_names(desk: Lab, tmp_path: Path, name: str | bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(TEXT)
    desk.insert(0, card())
    succeeds(command(desk, "sign", "--", os.fsdecode(name), codes=[PIN], cwd=tmp_path))
    believed(desk, tmp_path / (path.name + ".p7s"), path)


def test_names_that_are_not_there(desk: Lab, tmp_path: Path) -> None:
    """One line of error whatever the name holds."""
    desk.insert(0, card())
    for name in (b"missing.txt", b"line\nbreak", b"\xe9t\xe9", b"\x1b[31mred", b""):
        message = fails(command(desk, "sign", "--", os.fsdecode(name), codes=[PIN], cwd=tmp_path), 40)
        assert "\x1b" not in message


@pytest.mark.parametrize("model", MODELS)
def test_one_bit_of_the_file_changes(desk: Lab, paper: Path, model: str) -> None:
    desk.insert(0, card(model=model))
    succeeds(cpxd(desk, "sign", str(paper), codes=[PIN]))
    paper.write_bytes(bytes([TEXT[0] ^ 1]) + TEXT[1:])
    assert openssl(desk, Path(f"{paper}.p7s"), paper).returncode != 0


def test_output_elsewhere(desk: Lab, paper: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    desk.insert(0, card())
    target = tmp_path / "out" / "signature d'été.p7s"
    for _ in range(2):  # the second time over the first
        succeeds(cpxd(desk, "sign", str(paper), "-o", str(target), codes=[PIN]))
        believed(desk, target, paper)
        only(tmp_path / "out", target.name)
    succeeds(cpxd(desk, "sign", "--output", str(target), str(paper), codes=[PIN]))
    only(paper.parent, "ordonnance.txt", "out")


def test_json(desk: Lab, paper: Path) -> None:
    desk.insert(0, card())
    said = succeeds(cpxd(desk, "sign", str(paper), "--json", codes=[PIN])).json
    assert f"{paper}.p7s" in said.values()
    believed(desk, Path(f"{paper}.p7s"), paper)


def test_output_is_made_like_any_other_file(desk: Lab, paper: Path) -> None:
    desk.insert(0, card())
    succeeds(command(desk, "sign", str(paper), codes=[PIN], umask=0o027))
    assert stat.S_IMODE(Path(f"{paper}.p7s").stat().st_mode) == 0o640


# -- bad input -------------------------------------------------------------------------------------------------


def _missing(folder: Path) -> list[str]:
    return [str(folder / "none.txt")]


def _folder(folder: Path) -> list[str]:
    return [str(folder)]


def _loop(folder: Path) -> list[str]:
    (folder / "loop").symlink_to("loop")
    return [str(folder / "loop")]


def _through_a_file(folder: Path) -> list[str]:
    return [str(folder / "ordonnance.txt" / "x")]


def _output_is_input(folder: Path) -> list[str]:
    return [str(folder / "ordonnance.txt"), "-o", str(folder / "ordonnance.txt")]


def _output_is_input_by_a_link(folder: Path) -> list[str]:
    (folder / "link").symlink_to("ordonnance.txt")
    return [str(folder / "ordonnance.txt"), "-o", str(folder / "link")]


def _output_is_input_by_a_hard_link(folder: Path) -> list[str]:
    (folder / "link").hardlink_to(folder / "ordonnance.txt")
    return [str(folder / "ordonnance.txt"), "-o", str(folder / "link")]


def _output_is_a_folder(folder: Path) -> list[str]:
    return [str(folder / "ordonnance.txt"), "-o", str(folder)]


def _output_in_no_folder(folder: Path) -> list[str]:
    return [str(folder / "ordonnance.txt"), "-o", str(folder / "none" / "x.p7s")]


def _endless_name(folder: Path) -> list[str]:
    return [str(folder / "ordonnance.txt"), "-o", str(folder / ("x" * 300))]


@pytest.mark.parametrize(
    "arguments",
    [
        _missing,
        _folder,
        _loop,
        _through_a_file,
        _output_is_input,
        _output_is_input_by_a_link,
        _output_is_input_by_a_hard_link,
        _output_is_a_folder,
        _output_in_no_folder,
        _endless_name,
    ],
    ids=lambda function: function.__name__.strip("_"),
)
def test_bad_files_cost_nothing(desk: Lab, paper: Path, arguments: Callable[[Path], list[str]]) -> None:
    handle = desk.insert(0, card())
    line = arguments(paper.parent)
    before = sorted(path.name for path in paper.parent.iterdir())
    fails(cpxd(desk, "sign", *line, codes=[PIN]), 40)
    only(paper.parent, *before)
    assert paper.read_bytes() == TEXT
    assert with_codes(handle.trace) == [], "known before the code is spent"


def test_file_that_may_not_be_read(desk: Lab, paper: Path) -> None:
    paper.chmod(0)
    handle = desk.insert(0, card())
    # root reads everything, until it leaves that right behind
    dropped = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"] if os.geteuid() == 0 else []
    fails(command(desk, "sign", str(paper), codes=[PIN], prefix=prefix), 40)
    only(paper.parent, "ordonnance.txt")
    assert with_codes(handle.trace) == []


def test_no_room_for_the_signature(desk: Lab, paper: Path) -> None:
    desk.insert(0, card())
    fails(command(desk, "sign", str(paper), codes=[PIN], prefix=["prlimit", "--fsize=1000"]), 40)
    only(paper.parent, "ordonnance.txt")


# -- codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_wrong_code_writes_nothing(desk: Lab, paper: Path, model: str) -> None:
    virtual = card(model=model)
    desk.insert(0, virtual)
    for left in (2, 1):
        assert re.search(rf"\b{left}\b", fails(cpxd(desk, "sign", str(paper), codes=["9876"]), 20))
    fails(cpxd(desk, "sign", str(paper), codes=["9876"]), 22)
    fails(cpxd(desk, "sign", str(paper), "--last-try", codes=["9876"]), 21)
    fails(cpxd(desk, "sign", str(paper), codes=[PIN]), 21)
    fails(cpxd(desk, "sign", str(paper), codes=["12a4"]), (21, 40))
    only(paper.parent, "ordonnance.txt")
    assert tries(virtual) == 0


def test_existing_signature_survives_a_failure(desk: Lab, paper: Path) -> None:
    Path(f"{paper}.p7s").write_bytes(b"older")
    desk.insert(0, card_with_codes("cps3", pin={"tries_left": 0}))
    fails(cpxd(desk, "sign", str(paper), codes=[PIN]), 21)
    assert Path(f"{paper}.p7s").read_bytes() == b"older"


# -- wrong cards and busy cards --------------------------------------------------------------------------------


class WrongSigner(Wrapped):
    """One bit of the signatures is wrong: all of them, or only the first `times`."""

    def __init__(self, inner: object, times: int = 1_000) -> None:
        super().__init__(inner)
        self.times = times
        self._signing = False

    def transmit(self, apdu: bytes) -> bytes:
        if apdu[1] != 0xC0:
            self._signing = apdu[1:4] == b"\x2a\x9e\x9a"
        answer = super().transmit(apdu)
        if self._signing and len(answer) > 64 and self.times:
            self.times -= 1
            return bytes([answer[0], answer[1] ^ 1]) + answer[2:]
        return answer


class Refusing(Wrapped):
    """The next `times` signatures are refused with `status`."""

    def __init__(self, inner: object, status: bytes, times: int) -> None:
        super().__init__(inner)
        self.status, self.times = status, times

    def transmit(self, apdu: bytes) -> bytes:
        if apdu[1:4] == b"\x2a\x9e\x9a" and self.times:
            self.times -= 1
            return self.status
        return super().transmit(apdu)


@pytest.mark.parametrize("model", MODELS)
def test_wrong_signature_is_not_given_out(desk: Lab, paper: Path, model: str) -> None:
    virtual = card(model=model)
    desk.insert(0, WrongSigner(virtual))
    fails(cpxd(desk, "sign", str(paper), codes=[PIN]), 50)
    only(paper.parent, "ordonnance.txt")
    assert tries(virtual) == 3


@pytest.mark.parametrize("model", MODELS)
def test_signature_wrong_once_is_made_again(desk: Lab, paper: Path, model: str) -> None:
    signer = WrongSigner(card(model=model), times=1)
    desk.insert(0, signer)
    succeeds(cpxd(desk, "sign", str(paper), codes=[PIN]))
    believed(desk, Path(f"{paper}.p7s"), paper)
    assert signer.times == 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", ["6A88", "6985"])
def test_signature_refused_once_is_asked_again(desk: Lab, paper: Path, model: str, status: str) -> None:
    refusing = Refusing(card(model=model), bytes.fromhex(status), times=1)
    desk.insert(0, refusing)
    succeeds(cpxd(desk, "sign", str(paper), codes=[PIN]))
    believed(desk, Path(f"{paper}.p7s"), paper)
    assert refusing.times == 0


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("status", ["6A88", "6985", "6982", "6F00", "6A80"])
def test_signature_always_refused(desk: Lab, paper: Path, model: str, status: str) -> None:
    virtual = card(model=model)
    desk.insert(0, Refusing(virtual, bytes.fromhex(status), times=1_000))
    result = cpxd(desk, "sign", str(paper), codes=[PIN])
    assert result.code not in (0, 70)
    fails(result, result.code)
    only(paper.parent, "ordonnance.txt")
    assert tries(virtual) == 3


MOVES = {
    "cps3": ["00A4000C023F00", "002241B606800112840182", "0022F201"],
    "cps4": ["01A40800020001", "012281B60491022C20", "01A4040C088025000001FF0100"],
}


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_another_program_moves_the_card_all_the_time(desk: Lab, tmp_path: Path, model: str) -> None:
    """A second SHARED handle changes the current DF and the security environment wherever it gets a chance."""
    desk.insert(0, card(model=model))
    with Mover(desk, desk.readers[0], [bytes.fromhex(move) for move in MOVES[model]]):
        for number in range(8):
            path = tmp_path / f"{number}.txt"
            path.write_text(str(number))
            succeeds(cpxd(desk, "sign", str(path), codes=[PIN]))
            believed(desk, Path(f"{path}.p7s"), path)


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_after_another_program_left_the_card_elsewhere(desk: Lab, paper: Path, model: str) -> None:
    desk.insert(0, card(model=model))
    with Mover(desk, desk.readers[0], [bytes.fromhex(move) for move in MOVES[model]]):
        pass
    succeeds(cpxd(desk, "sign", str(paper), codes=[PIN]))
    believed(desk, Path(f"{paper}.p7s"), paper)


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_several_commands_at_once(desk: Lab, tmp_path: Path, model: str) -> None:
    """They wait for one another; each finds the card as it needs it."""
    virtual = card(model=model)
    desk.insert(0, virtual)

    def one(number: int) -> Result:
        if number % 3 == 2:
            return cpxd(desk, "card", "--json", codes=[PIN])
        path = tmp_path / f"{number}.txt"
        path.write_text(f"{number}")
        return cpxd(desk, "sign", str(path), codes=[PIN])

    with ThreadPoolExecutor(4) as pool:
        for number, result in enumerate(pool.map(one, range(12))):
            succeeds(result)
            if number % 3 != 2:
                believed(desk, tmp_path / f"{number}.txt.p7s", tmp_path / f"{number}.txt")
    assert tries(virtual) == 3
