# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin: cards of health professionals for the tests of any software. docs/INTEGRATORS.md tells how.

def test_reads_the_name(cpx_card, cpx_lab):                     # a doctor's CPS3 in reader 0 of a private pcscd
    assert "ESSAI" in cpx_lab.run(["my-tool", "whoami"], capture_output=True).stdout

@pytest.mark.cpx("cps-infirmier:cps4")
def test_of_a_nurse(cpx_card): ...

def test_my_parser(cpx_virtual_card):                           # in this process, without any pcscd
    answer = cpx_virtual_card.transmit(bytes.fromhex("00A4040C0DE828BD080F8025000001FF0010"))
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from simulator.cardos import VirtualCard
    from simulator.lab import CardHandle, Lab

DEFAULT = "cps-medecin:cps3"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cpx(card, fault=None): the card of cpx_card and cpx_virtual_card, 'PERSONA[:MODEL]'")


@pytest.fixture(scope="session")
def cpx_lab() -> Iterator[Lab]:
    """A private pcscd with four empty readers, for the whole session: libpcsclite reads its address once a process.

    Its environment is that of this process too, so that PC/SC calls in the tests themselves reach it.
    """
    from simulator.lab import Lab

    with Lab(["cps-medecin"], slots=4) as lab:  # by name: the lab then publishes its test PKI
        lab.remove(0)
        before = dict(os.environ)
        os.environ.update(lab.env)
        try:
            yield lab
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def cpx_card(cpx_lab: Lab, request: pytest.FixtureRequest) -> Iterator[CardHandle]:
    """A fresh card in reader 0, removed after the test. Other readers: `cpx_lab.insert(1, "cps-infirmier:cps4")`."""
    from simulator.errors import LabError, SimulatorError

    spec, fault = _asked(request)
    try:
        card = cpx_lab.insert(0, spec, fault)
    except SimulatorError as error:
        pytest.fail(str(error), pytrace=False)
    yield card
    for slot in range(cpx_lab.slots):
        try:
            cpx_lab.remove(slot)
        except LabError:
            continue


@pytest.fixture
def cpx_virtual_card(request: pytest.FixtureRequest) -> VirtualCard:
    """A fresh card in this process, powered on: `transmit(apdu) -> answer`. No reader, no pcscd."""
    from simulator import source
    from simulator.errors import SimulatorError

    try:
        card = source.make(_asked(request)[0])
    except SimulatorError as error:
        pytest.fail(str(error), pytrace=False)
    card.power_on()
    return card  # type: ignore[return-value]  # make() promises less: what the transport needs


def _asked(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    marker = request.node.get_closest_marker("cpx")
    if marker is None:
        return DEFAULT, None
    try:
        return _mark(*marker.args, **marker.kwargs)
    except TypeError as error:
        pytest.fail(f"cpx(card, fault=None): {error}", pytrace=False)


def _mark(card: str = DEFAULT, fault: str | None = None) -> tuple[str, str | None]:
    """What the mark of a test says. TypeError for anything else."""
    if not isinstance(card, str) or not isinstance(fault, str | None):
        raise TypeError(f"card={card!r}, fault={fault!r}: not a string")
    return card, fault
