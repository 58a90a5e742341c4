"""Adding to a stored number, where it lies: values are as clients encode them, and some are whole numbers.

The only place of the database that looks into a value.
"""

from __future__ import annotations

import msgspec

from ..api import Add, BadRequest

LARGEST = (1 << 63) - 1

_ENCODER = msgspec.msgpack.Encoder()


def encode_number(number: int) -> bytes:
    """As a client would store it."""
    return _ENCODER.encode(number)


def add_to(stored: bytes | None, operation: Add) -> int | BadRequest:
    """The number that there is after the addition, or why there is none."""
    try:
        before = 0 if stored is None else msgspec.msgpack.decode(stored)
    except msgspec.DecodeError:
        before = None
    if isinstance(before, bool) or not isinstance(before, int):
        return BadRequest(
            f"key {operation.key!r} holds {stored!r:.80}, which is no whole number; put one first"
        )
    after = before + operation.amount
    if not -LARGEST <= after <= LARGEST:
        return BadRequest(
            f"{before} and {operation.amount} are {after}: numbers go from -{LARGEST} to {LARGEST}"
        )
    return after
