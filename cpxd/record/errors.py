# SPDX-License-Identifier: Apache-2.0
"""The one exception of the decoders."""

from __future__ import annotations


class RecordError(ValueError):
    """Bytes of a card that cannot be what they should be. Decoders raise this and nothing else, for any input."""


class SituationError(RecordError):
    """More practice situations than a card can hold (16), or two with the same number."""


class DictionaryError(ValueError):
    """A tag dictionary that cannot be used; the message says what and where."""
