# SPDX-License-Identifier: Apache-2.0
"""What the files of a card hold, built byte by byte from a persona and its certificates."""
