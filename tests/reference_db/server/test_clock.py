"""The clock port: what the node's wall clock shows for what the file says."""

from pathlib import Path

from reference_db.server.clock import LAYOUT, RETRY_NS, Clock

SECOND = 1_000_000_000


class Machine:
    """The machine's own clocks, set by hand."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000 * SECOND
        self.monotonic = 5 * SECOND

    def pass_time(self, ns: int) -> None:
        self.wall += ns
        self.monotonic += ns


def make_clock(path: Path | None) -> tuple[Clock, Machine]:
    machine = Machine()
    clock = Clock(None if path is None else str(path), lambda: machine.wall, lambda: machine.monotonic)
    return clock, machine


def write(path: Path, sequence: int, offset_ns: int, rate_ppb: int, anchor_ns: int) -> None:
    """In place, as a writer does that others have mapped."""
    if not path.exists():
        path.write_bytes(bytes(LAYOUT.size))
    with path.open("r+b") as file:
        file.write(LAYOUT.pack(sequence, offset_ns, rate_ppb, anchor_ns, 0))


def test_without_a_file_it_is_the_machine_s_clock() -> None:
    clock, machine = make_clock(None)
    assert clock.wall_ns() == machine.wall


def test_an_offset_moves_it_and_taking_it_back_restores_it(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    write(path, 2, -3 * SECOND, 0, 0)
    clock, machine = make_clock(path)
    assert clock.wall_ns() == machine.wall - 3 * SECOND
    write(path, 4, 0, 0, 0)
    assert clock.wall_ns() == machine.wall
    clock.close()


def test_a_drift_grows_from_its_anchor(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock, machine = make_clock(path)
    write(path, 2, 10, 500_000_000, machine.monotonic)
    assert clock.wall_ns() == machine.wall + 10
    machine.pass_time(4 * SECOND)
    assert clock.wall_ns() == machine.wall + 10 + 2 * SECOND
    clock.close()


def test_a_half_written_file_changes_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    write(path, 2, SECOND, 0, 0)
    clock, machine = make_clock(path)
    assert clock.wall_ns() == machine.wall + SECOND
    write(path, 3, 77, 0, 0)
    assert clock.wall_ns() == machine.wall + SECOND
    write(path, 4, 2 * SECOND, 0, 0)
    assert clock.wall_ns() == machine.wall + 2 * SECOND
    clock.close()


def test_a_file_that_appears_later_is_found(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock, machine = make_clock(path)
    assert clock.wall_ns() == machine.wall
    write(path, 2, SECOND, 0, 0)
    assert clock.wall_ns() == machine.wall
    machine.pass_time(RETRY_NS)
    assert clock.wall_ns() == machine.wall + SECOND
    clock.close()


def test_the_writer_of_the_harness_is_understood(tmp_path: Path) -> None:
    from harness.environments.clock_file import ClockSetting, write_clock

    path = tmp_path / "clock"
    clock, machine = make_clock(path)
    setting = ClockSetting(offset_ns=-5 * SECOND, rate_ppb=1_000_000, anchor_monotonic_ns=2 * SECOND)
    write_clock(path, setting)
    assert clock.wall_ns() == machine.wall + setting.shift_ns(machine.monotonic)
    clock.close()
