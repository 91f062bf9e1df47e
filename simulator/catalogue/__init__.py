# SPDX-License-Identifier: Apache-2.0
"""The catalogue: a persona for every profession and kind of card of the CPAM guide, and for the cases that break programs.

The TOML files are made by `python -m simulator.catalogue.generate`; `personas.load` finds them by name.
"""
