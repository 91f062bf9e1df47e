# SPDX-License-Identifier: Apache-2.0
"""The checks, in the order in which causes come: what is first broken makes what follows meaningless.

A new check: a function in the file of its family, a row in that family, its code in data/codes.psv, its fault in the fault table.
"""

from __future__ import annotations

from cpxd.doctor.checks.browsers import FAMILY as BROWSERS
from cpxd.doctor.checks.card import FAMILY as CARD
from cpxd.doctor.checks.clock import FAMILY as CLOCK
from cpxd.doctor.checks.codes import FAMILY as CODES
from cpxd.doctor.checks.daemon import FAMILY as DAEMON
from cpxd.doctor.checks.pcsc import FAMILY as PCSC
from cpxd.doctor.checks.programs import FAMILY as PROGRAMS
from cpxd.doctor.checks.reader import FAMILY as READER
from cpxd.doctor.checks.settings import FAMILY as SETTINGS
from cpxd.doctor.checks.site import FAMILY as SITE
from cpxd.doctor.checks.storage import FAMILY as STORAGE
from cpxd.doctor.checks.validity import FAMILY as VALIDITY
from cpxd.doctor.checks.web import FAMILY as WEB
from cpxd.doctor.model import Family

FAMILIES: tuple[Family, ...] = (
    SETTINGS,
    PCSC,
    READER,
    PROGRAMS,
    CARD,
    CLOCK,
    VALIDITY,
    CODES,
    STORAGE,
    DAEMON,
    WEB,
    BROWSERS,
    SITE,
)
