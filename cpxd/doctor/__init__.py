# SPDX-License-Identifier: Apache-2.0
"""The doctor: what is wrong with this workstation, this reader or this card, first cause first, and how to put it right.

It sends the card nothing but reads and questions about counters: no code, no try.
"""
