"""One digest for all bytes of a range: replicas at the same applied index must have the same.

It is computed in steps, because a node that reads all its data in one go is deaf meanwhile; whoever asks sees to it
that nothing was applied between the first step and the last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator

from . import keys
from .engine import Reader

PAIRS_A_STEP = 1000
"""About two milliseconds of work."""


def digest_in_steps(reader: Reader, start: bytes, end: bytes | None) -> Generator[None, None, str]:
    """What lies under the user keys `[start, end)`, of all kinds; returns 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    pairs = 0
    for kind in keys.DATA:
        for key, value in reader.scan(*keys.span(kind, start, end)):
            # With their lengths: no two lists of pairs give the same bytes.
            digest.update(b"%d %d " % (len(key), len(value)))
            digest.update(key)
            digest.update(value)
            pairs += 1
            if pairs % PAIRS_A_STEP == 0:
                yield
    return digest.hexdigest()


def digest_at_once(reader: Reader, start: bytes, end: bytes | None) -> str:
    """The same, without a pause."""
    steps = digest_in_steps(reader, start, end)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return str(done.value)
