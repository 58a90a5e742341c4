"""What can be set about a simulated world, with what its machines are like if nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

TRACES = ("off", "full")
MESSAGES_MOST = 1_000_000


class SimulationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """By default, hosts of one data centre with SSDs. Numbers are checked by `problems`, together."""

    latency_ms: float = 0.3
    """Least time that bytes take from one host to another."""
    jitter_ms: float = 0.2
    """How much longer they may take."""
    sync_ms: float = 1.0
    """How long a sync of a disk takes, more or less."""
    trace: str = "off"
    """`full`: every event of the world goes to `trace.jsonl` in the run folder."""
    messages: int = 100_000
    """Of what nodes and clients write to each other so many last pieces are kept for the report; 0: none. Only where a
    run's messages are recorded at all: a sweep's are not."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SimulationOptions:
        """From what the command line says; raises ValueError for a value of the wrong kind."""
        given = {name: str(value) if name == "trace" else value for name, value in options.items()}
        try:
            # `--environment-option trace=off` may have been read as something else by then.
            return msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"option of environment simulation: {error}") from error

    def problems(self) -> list[str]:
        """What is wrong, one sentence each."""
        wrong = [
            f"{name} {value:g}: must be between {least:g} and {most:g} milliseconds"
            for name, value, least, most in (
                ("latency_ms", self.latency_ms, 0.001, 10_000.0),
                ("jitter_ms", self.jitter_ms, 0.0, 10_000.0),
                ("sync_ms", self.sync_ms, 0.0, 10_000.0),
            )
            if not least <= value <= most
        ]
        if not 0 <= self.messages <= MESSAGES_MOST:
            wrong.append(f"messages {self.messages}: must be between 0 (none is kept) and {MESSAGES_MOST}")
        if self.trace not in TRACES:
            wrong.append(f"trace {self.trace!r}: must be {' or '.join(TRACES)}")
        return wrong


OPTIONS: tuple[str, ...] = SimulationOptions.__struct_fields__
