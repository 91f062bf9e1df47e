# SPDX-License-Identifier: Apache-2.0
"""The one exception of the decoders."""

from __future__ import annotations


class RecordError(ValueError):
    """Bytes of a card that cannot be what they should be. Decoders raise this and nothing else, for any input."""
