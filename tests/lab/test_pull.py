# SPDX-License-Identifier: Apache-2.0
"""A card pulled at every command of every operation: a typed error in time, no try lost, and the next operation works."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cpxd_lab import PIN, UNBLOCK, Result, Wrapped, card, command, cpxd, fails, in_parallel, succeeds, tries, value

from simulator.cardos import VirtualCard
from simulator.lab import Lab

BOUND = 0.300
NEW = "2468"


@dataclass(frozen=True)
class Operation:
    persona: str
    arguments: tuple[str, ...]
    codes: tuple[str, ...]

    def run(self, lab: Lab, folder: Path, codes: tuple[str, ...] | None = None) -> Result:
        arguments = [argument.replace("FOLDER", str(folder)) for argument in self.arguments]
        return cpxd(lab, *arguments, codes=(self.codes if codes is None else codes) or None)


OPERATIONS = {
    "card": Operation("cps-medecin", ("card", "--json"), (PIN,)),
    "status": Operation("cps-medecin", ("pin", "status"), ()),
    "verify": Operation("cps-medecin", ("pin", "verify"), (PIN,)),
    "wrong verify": Operation("cps-medecin", ("pin", "verify"), ("9999",)),
    "change": Operation("cps-medecin", ("pin", "change"), (PIN, NEW)),
    "unblock": Operation("cps-pin-bloque", ("pin", "unblock"), (UNBLOCK, NEW)),
    "wrong unblock": Operation("cps-pin-bloque", ("pin", "unblock"), ("00000000", NEW)),
    "sign": Operation("cps-medecin", ("sign", "FOLDER/paper"), (PIN,)),
}


@pytest.mark.parametrize("model", ["cps3", "cps4"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_pulled_at_every_command(labs: list[Lab], tmp_path: Path, model: str, name: str) -> None:
    operation = OPERATIONS[name]
    rehearsal = labs[0].insert(0, card(operation.persona, model))
    (tmp_path / "paper").write_text("x")
    operation.run(labs[0], tmp_path)
    labs[0].remove(0)
    with_code = [command[1] in (0x20, 0x24, 0x2C) and len(command) != 4 for command, _ in rehearsal.trace]
    # to cpxd it is the same whether the card did the last command or not; to the codes it is not
    plan = [f"pull@{n}" for n in range(len(with_code))] + [f"pull-before@{n}" for n, code in enumerate(with_code) if code]
    assert len(plan) > 3

    def work(lab: Lab, fault: str) -> list[str]:
        folder = tmp_path / f"{labs.index(lab)}"
        folder.mkdir(exist_ok=True)
        (folder / "paper").write_text("x")
        return _pulled(lab, folder, name, model, fault)

    assert in_parallel(labs, work, plan) == []


def _pulled(lab: Lab, folder: Path, name: str, model: str, fault: str) -> list[str]:
    """What is wrong with that pull, in words."""
    operation = OPERATIONS[name]
    for _ in range(3):  # the machine may be busy: the bound must hold in one run of three
        virtual = card(operation.persona, model)
        wrapped = Wrapped(virtual)
        shutil.rmtree(Path(lab.env["XDG_CACHE_HOME"], "cpxd", "cards"), ignore_errors=True)  # every command is sent each time
        lab.insert(0, wrapped, fault)
        result = operation.run(lab, folder)
        late = result.ended - wrapped.power_off_at
        lab.remove(0)
        if late <= BOUND:
            break
    troubles = [] if late <= BOUND else [f"{fault}: error {late * 1000:.0f} ms after the pull"]
    try:
        fails(result, 14)
    except AssertionError as error:
        troubles.append(f"{fault}: {error}")
    troubles += [f"{fault}: {text}" for text in _damage(name, fault, virtual)]
    if sorted(path.name for path in folder.iterdir()) != ["paper"]:
        troubles.append(f"{fault}: a file is left")
    lab.insert(0, virtual)
    again = operation.run(lab, folder, _codes_now(name, virtual))
    wanted = {"wrong verify": 20, "wrong unblock": 23}.get(name, 0)
    if again.code != wanted:
        troubles.append(f"{fault}: then exit {again.code}: {again.err}")
    lab.remove(0)
    (folder / "paper.p7s").unlink(missing_ok=True)
    return troubles


def _codes_now(name: str, virtual: VirtualCard) -> tuple[str, ...]:
    return (value(virtual), "1357") if name == "change" else OPERATIONS[name].codes


def _damage(name: str, fault: str, virtual: VirtualCard) -> list[str]:
    """Tries lost beyond the one in flight, codes that nobody chose."""
    in_flight = fault.startswith("pull@")
    pin, unblock = tries(virtual), tries(virtual, 2)
    allowed = {
        "wrong verify": ({3, 2} if in_flight else {3}, {10}),
        "unblock": ({0, 3}, {10}),
        "wrong unblock": ({0}, {10, 9} if in_flight else {10}),
    }.get(name, ({3}, {10}))
    troubles = []
    if pin not in allowed[0] or unblock not in allowed[1]:
        troubles.append(f"{pin} and {unblock} tries left")
    if value(virtual) not in ((PIN, NEW) if name in ("change", "unblock") else (PIN,)):
        troubles.append(f"the code is now {value(virtual)}")
    return troubles


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_the_command_itself_ends_in_time(labs: list[Lab], tmp_path: Path, model: str) -> None:
    """The console script, start and end of Python included, at the beginning, in the middle and at the signature."""
    lab = labs[0]
    (tmp_path / "paper").write_text("x")
    operation = OPERATIONS["sign"]
    rehearsal = lab.insert(0, card(model=model))
    succeeds(operation.run(lab, tmp_path))
    (tmp_path / "paper.p7s").unlink()
    last = rehearsal.apdu_count - 1
    for number in (0, last // 2, last):
        delays = []
        for _ in range(3):
            wrapped = Wrapped(card(model=model))
            lab.insert(0, wrapped, f"pull@{number}")
            result = command(lab, "sign", str(tmp_path / "paper"), codes=[PIN])
            fails(result, 14)
            delays.append(result.ended - wrapped.power_off_at)
        assert min(delays) <= BOUND, f"command {number}: {delays}"


@pytest.mark.parametrize("model", ["cps3", "cps4"])
def test_pulled_while_the_card_is_at_work(labs: list[Lab], tmp_path: Path, model: str) -> None:
    """Not between two commands but in the middle of one that takes long."""
    lab = labs[0]
    operation = OPERATIONS["verify"]
    wrapped = Wrapped(card(model=model))
    handle = lab.insert(0, wrapped)
    succeeds(operation.run(lab, tmp_path))
    verify = next(n for n, (apdu, _) in enumerate(handle.trace) if apdu[1] == 0x20 and len(apdu) > 5)
    for number in (0, verify):
        handle = lab.insert(0, wrapped, f"delay@{number}=20s")
        started = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(operation.run, lab, tmp_path)
            while handle.apdu_count < number or wrapped.last_command_at < started:
                assert not running.done() and time.monotonic() < started + 15
                time.sleep(0.005)
            handle.pull()
            result = running.result()
        fails(result, 14)
        assert result.ended - wrapped.power_off_at <= BOUND
        assert tries(wrapped.inner) == 3


@pytest.mark.parametrize("name", ["card", "change", "sign"])
def test_service_that_dies_midway(labs: list[Lab], tmp_path: Path, name: str) -> None:
    """Not the card but pcscd goes away, and comes back."""
    lab, operation, virtual = labs[0], OPERATIONS[name], card()
    (tmp_path / "paper").write_text("x")
    handle = lab.insert(0, virtual, "delay@8=20s")
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(operation.run, lab, tmp_path)
            started = time.monotonic()
            while handle.apdu_count < 8:
                assert not running.done() and time.monotonic() < started + 15
                time.sleep(0.005)
            time.sleep(0.05)
            killed = time.monotonic()
            lab.kill_pcscd()
            result = running.result()
    finally:
        lab.restart_pcscd()
    assert "pcscd" in fails(result, 10)
    assert result.ended - killed < 2
    assert tries(virtual) == 3 and not (tmp_path / "paper.p7s").exists()
    assert operation.run(lab, tmp_path).code == 0
