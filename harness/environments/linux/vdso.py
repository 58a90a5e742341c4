"""The wall clock of any process, told lies: the page by which it asks the kernel for the time (its vDSO) is patched.

Nearly every program on Linux reads its clocks through the vDSO, statically linked ones (Go's) as well, and each process
has a page of its own once it is written to. So a node's clock can be set from outside, without a word from the node,
and the host's own clock is never touched. Only CLOCK_REALTIME, its coarse form and CLOCK_TAI are shifted; the monotonic
clocks go on. A program that makes the system call itself is not deceived, nor are timers at a time of day that the
kernel waits for: what a node believes has to be measured.

The new code (`_CODE`) goes into the unused end of the mapping. It asks the kernel, and adds offset + rate *
(CLOCK_MONOTONIC - anchor), so a drifting clock drifts by itself. Then the first eight bytes of each function become a
jump, in one store, while every thread of the process stands still outside of them. A setting is a slot of three
numbers; which slot is in force is one number, so that a reader never waits for a writer that has died. Children inherit
page and setting; what a process becomes by exec has a page of its own, and real time until it is told again.

Linux on x86-64, and the right to trace the process: root, or its ancestor. Imports nothing but what a host is sent.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import platform
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.environments.clock_file import REAL_TIME, ClockSetting
from harness.environments.supervisor import descendants_of

_MAGIC: Final = b"MRHCLOCK"
_SLOTS: Final = 4
_SLOT: Final = struct.Struct("<qqqq")
_WHICH: Final = 8
"""Where the number is that says which slot is in force: its distance from the first one."""
_FIRST_SLOT: Final = 16
_HEADER: Final = _FIRST_SLOT + _SLOTS * _SLOT.size
_CODE: Final = bytes.fromhex(
    # __vdso_clock_gettime(edi: clock, rsi: timespec): the system call; if the clock is 0, 5 or 11, the shift is added.
    "5657b8e40000000f055f5e85c0752785ff740a83ff05740583ff0b751956e8860000005e48034608e8ce0000004801064889560831c0c3"
    # __vdso_gettimeofday(rdi: timeval, rsi: timezone)
    "57b8600000000f055f85c075f24885ff74ed57e85a0000005f48694f08e80300004801c8e89b0000004801074889d031d2b9e803000048f7f1"
    "4889470831c0c3"
    # __vdso_time(rdi: time_t, or null)
    "574883ec1031ff4889e6b8e40000000f05e81c0000004803442408e864000000480304244883c4105f4885ff7403488907c3"
    # rax = the shift: offset of the slot in force, + rate * (CLOCK_MONOTONIC - anchor) / 10^9 where there is a rate
    "4c8d05d0feffff4c0305c1feffff4d8b48084d85c974374883ec10bf010000004889e6b8e40000000f054869042400ca9a3b48034424084883c410"
    "492b401049f7e9b900ca9a3b48f7f9490300c3498b00c3"
    # nanoseconds in rax: whole seconds in rax, and the rest, 0 to 10^9 - 1, in rdx
    "4899b900ca9a3b48f7f94885d279064801ca48ffc8c3"
)
"""Assembled for x86-64; calls as C does, keeps what C wants kept, and finds its slots relative to itself."""
_FUNCTIONS: Final = {
    "__vdso_clock_gettime": _HEADER,
    "__vdso_gettimeofday": _HEADER + 0x37,
    "__vdso_time": _HEADER + 0x77,
}
"""Function of the vDSO -> where its new code is, from the beginning of what we put there."""
_SIZE: Final = _HEADER + len(_CODE)
_JUMP: Final = struct.Struct("<Bi")
_JUMP_OPCODE: Final = 0xE9
_DYNAMIC_SYMBOLS: Final = 11
STOP_TIMEOUT_S: Final = 1.0
STOP_TRIES: Final = 50
TAKE_TRIES: Final = 10
PROBE_NS: Final = 3_600_000_000_000
PROBE_ERROR_NS: Final = 1_000_000_000


class ClockUntouchable(Exception):
    """The clock of a process cannot be taken: which, and why."""


@dataclass(frozen=True)
class _Page:
    """The vDSO of a process as it is now."""

    pid: int
    start: int
    """Address of its first byte in the process."""
    image: bytes

    @classmethod
    def of(cls, pid: int) -> _Page:
        """Raises ClockUntouchable."""
        try:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if line.endswith("[vdso]"):
                    start, end = (int(word, 16) for word in line.split()[0].split("-"))
                    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                        memory.seek(start)
                        return cls(pid, start, memory.read(end - start))
        except (OSError, ValueError) as error:
            raise ClockUntouchable(f"the memory of process {pid} cannot be read: {error}") from error
        raise ClockUntouchable(f"process {pid} has no vDSO")

    @property
    def ours(self) -> int | None:
        """Where our code begins in the image, if the functions lead there; None: the kernel's own are in force."""
        place = self.image.find(_MAGIC)
        if place < 0 or self.image[place + _HEADER : place + _SIZE] != _CODE:
            return None
        entry = functions(self.image)["__vdso_clock_gettime"]
        opcode, distance = _JUMP.unpack_from(self.image, entry)
        leads_there = opcode == _JUMP_OPCODE and entry + _JUMP.size + distance == place + _HEADER
        return place if leads_there else None

    def write(self, offset: int, content: bytes) -> None:
        """Into the process. Raises ClockUntouchable or _Moved."""
        try:
            with open(f"/proc/{self.pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(self.start + offset)
                memory.write(content)
        except OSError as error:
            if _Page.of(self.pid).start != self.start:
                raise _Moved from error
            raise ClockUntouchable(f"the memory of process {self.pid} cannot be written: {error}") from error


def functions(image: bytes) -> dict[str, int]:
    """Where those functions of a vDSO begin that tell the time of day. Raises ClockUntouchable where one that is needed
    is missing, or cannot be replaced in one store."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise ClockUntouchable("the vDSO is no 64-bit ELF image")
    (headers_at,) = struct.unpack_from("<Q", image, 40)
    size, count = struct.unpack_from("<HH", image, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, headers_at + index * size) for index in range(count)]
    symbols = next((one for one in headers if one[1] == _DYNAMIC_SYMBOLS), None)
    if symbols is None:
        raise ClockUntouchable("the vDSO has no table of symbols")
    names_at = headers[symbols[6]][4]
    found = {}
    for index in range(symbols[5] // 24):
        name_at, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, symbols[4] + index * 24)
        name = image[names_at + name_at : image.index(0, names_at + name_at)].decode("ascii", "replace")
        if name in _FUNCTIONS:
            found[name] = value
    if "__vdso_clock_gettime" not in found:
        raise ClockUntouchable("the vDSO has no function __vdso_clock_gettime")
    crooked = sorted(name for name, value in found.items() if value % 8)
    if crooked:
        raise ClockUntouchable(f"the vDSO's {', '.join(crooked)} cannot be replaced in one store")
    return found


def room(image: bytes) -> int:
    """Where the unused end of the mapping begins, aligned. Raises ClockUntouchable where it is too small."""
    begun = image.find(_MAGIC)
    if begun >= 0 and image[begun + _HEADER : begun + _SIZE] == _CODE:
        return begun  # Somebody came so far, and no further.
    used = len(image.rstrip(b"\0"))
    place = (used + 16 + 63) // 64 * 64  # What ends with zeros of its own keeps them.
    if place + _SIZE > len(image):
        raise ClockUntouchable(f"the vDSO leaves {len(image) - used} bytes free, and {_SIZE} are needed")
    return place


def _take(pid: int, may_continue: Callable[[], bool]) -> _Page:
    """The page of a process, with our code in it. One that becomes another program meanwhile is taken again."""
    for _ in range(TAKE_TRIES):
        page = _Page.of(pid)
        if page.ours is not None:
            return page
        with contextlib.suppress(_Moved):
            _patch(page, may_continue)
    raise ClockUntouchable(f"process {pid} became another program {TAKE_TRIES} times in a row")


class _Moved(Exception):
    """A process has another page than a moment ago: it executes another program."""


def _patch(page: _Page, may_continue: Callable[[], bool]) -> None:
    """Our code into a page, and the functions led there. Raises _Moved."""
    entries, place = functions(page.image), room(page.image)
    page.write(place, _MAGIC + bytes(_HEADER - len(_MAGIC)) + _CODE)
    with _standing_still(page, entries.values(), may_continue):
        for name, entry in entries.items():
            jump = _JUMP.pack(_JUMP_OPCODE, place + _FUNCTIONS[name] - entry - _JUMP.size)
            page.write(entry, jump + page.image[entry + _JUMP.size : entry + 8])
    now = _Page.of(page.pid)
    if now.start != page.start:
        raise _Moved
    assert now.ours == place, f"process {page.pid}: the patch at {place} is not there: {now.ours}"


@contextlib.contextmanager
def _standing_still(
    page: _Page, entries: Collection[int], may_continue: Callable[[], bool]
) -> Iterator[None]:
    """While no thread runs, and none is about to go on within the first bytes of one of the functions."""
    pid = page.pid
    stood = set(_states(pid).values()) <= {"T", "t"}
    for _ in range(STOP_TRIES):
        with _translated(pid):
            os.kill(pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while not set((states := _states(pid)).values()) <= {"T", "t"}:
                if time.monotonic() > deadline:
                    raise ClockUntouchable(f"process {pid} does not stand still: its threads are in {states}")
                time.sleep(0.0002)
            at = [_counter(pid, thread) - page.start for thread in states]
            if not any(entry < one < entry + 8 for entry in entries for one in at):
                yield
                return
        finally:
            if not stood and may_continue():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        time.sleep(0.001)
    raise ClockUntouchable(f"process {pid} was found asking for the time {STOP_TRIES} times in a row")


@contextlib.contextmanager
def _translated(pid: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ClockUntouchable(f"process {pid} cannot be stopped and looked at: {error}") from error


def _states(pid: int) -> dict[int, str]:
    """Thread -> its state, as a letter; those that have ended left out."""
    states = {}
    with _translated(pid):
        for name in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                text = Path(f"/proc/{pid}/task/{name}/stat").read_text(errors="replace")
                states[int(name)] = text[text.rindex(")") + 2]
    return {thread: state for thread, state in states.items() if state not in "ZX"}


def _counter(pid: int, thread: int) -> int:
    """The address at which a thread that stands still will go on; 0 where it has ended."""
    with _translated(pid), contextlib.suppress(FileNotFoundError, ProcessLookupError):
        last = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()[-1]
        if last == "running":
            raise ClockUntouchable(f"thread {thread} of process {pid} runs, though it was stopped")
        return int(last, 16)
    return 0


def set_clock(pid: int, setting: ClockSetting, may_continue: Callable[[], bool] = lambda: True) -> int:
    """From now on this process and all its descendants see real time + the setting's shift. Answers how many they are.

    A process whose page is not ours yet stands still for a fraction of a millisecond; it goes on if it did before and
    `may_continue` says so. Raises ClockUntouchable; then some may have the setting, and others not.
    """
    seen: set[int] = set()
    while (
        new := ({pid} | descendants_of(pid)) - seen
    ):  # Whoever had no setting may have had a child meanwhile.
        for one in sorted(new):
            try:
                try:
                    _put(_take(one, may_continue), setting)
                except _Moved:
                    _put(_take(one, may_continue), setting)
            except (ClockUntouchable, _Moved) as error:
                if one == pid or Path(f"/proc/{one}").exists():
                    raise ClockUntouchable(str(error) or f"process {one} becomes other programs") from error
        seen |= new
    return len(seen)


def _put(page: _Page, setting: ClockSetting) -> None:
    place = page.ours
    assert place is not None, f"process {page.pid} was not taken"
    (which,) = struct.unpack_from("<Q", page.image, place + _WHICH)
    following = (which + _SLOT.size) % (_SLOTS * _SLOT.size)
    page.write(place + _FIRST_SLOT + following, _SLOT.pack(*setting, 0))
    page.write(place + _WHICH, struct.pack("<Q", following))


def family(pid: int) -> list[int]:
    """A process and its descendants that can still be asked."""
    return [one for one in sorted({pid} | descendants_of(pid)) if Path(f"/proc/{one}/maps").exists()]


def setting_of(pid: int) -> ClockSetting:
    """What this process is told now."""
    page = _Page.of(pid)
    if (place := page.ours) is None:
        return REAL_TIME
    (which,) = struct.unpack_from("<Q", page.image, place + _WHICH)
    offset_ns, rate_ppb, anchor_ns, _ = _SLOT.unpack_from(page.image, place + _FIRST_SLOT + which)
    return ClockSetting(offset_ns, rate_ppb, anchor_ns)


def shown_by(pid: int) -> dict[int, int]:
    """This process and its descendants -> nanoseconds since 1970 as their vDSO tells them now.

    Measured by running what is in force there: a copy of the code and the setting that were read from the process. Who
    ends meanwhile is left out. Raises ClockUntouchable if the first one cannot be read.
    """
    found = {}
    for one in sorted({pid} | descendants_of(pid)):
        try:
            found[one] = _shown(_Page.of(one))
        except ClockUntouchable:
            if one == pid:
                raise
    return found


def _shown(page: _Page) -> int:
    place = page.ours
    if place is None:
        return time.time_ns()
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as copy:
        # `ours` has compared the code with our own: nothing else is ever run here.
        copy[:_SIZE] = page.image[place : place + _SIZE]
        anchor = ctypes.c_char.from_buffer(copy)
        try:
            ask = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(
                ctypes.addressof(anchor) + _HEADER
            )
            answer = (ctypes.c_int64 * 2)()
            status = ask(time.CLOCK_REALTIME, ctypes.addressof(answer))
            assert status == 0, f"asking the page of process {page.pid} answered {status}"
            return answer[0] * 1_000_000_000 + answer[1]
        finally:
            del anchor


@functools.cache
def why_not() -> str | None:
    """Why clocks cannot be set this way here, tried on a process of our own; None if they can."""
    if not sys.platform.startswith("linux"):
        return f"the vDSO is Linux's, this is {sys.platform}"
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"the vDSO can be patched on x86-64 only, this is {platform.machine()}"
    script = "import sys, time\nfor _ in sys.stdin: print(time.time_ns(), time.monotonic_ns(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            _ahead_ns(child)  # It runs its own program now.
            set_clock(child.pid, ClockSetting(PROBE_NS))
            wall_ns, monotonic_ns = _ahead_ns(child)
        except (ClockUntouchable, OSError, ValueError) as error:
            return f"the clock of a process of our own could not be set: {error}"
        finally:
            child.kill()
    if abs(wall_ns - PROBE_NS) > PROBE_ERROR_NS or abs(monotonic_ns) > PROBE_ERROR_NS:
        return (
            f"a process that was set {PROBE_NS / 1e9:.0f} s ahead was {wall_ns / 1e9:.0f} s ahead, its monotonic clock "
            f"{monotonic_ns / 1e9:.0f} s: its programs do not ask the vDSO"
        )
    return None


def _ahead_ns(child: subprocess.Popen[bytes]) -> tuple[int, int]:
    """How far the clocks of the probe are ahead: that of the day, and the monotonic one."""
    assert child.stdin is not None, "the probe has no input"
    assert child.stdout is not None, "the probe has no output"
    child.stdin.write(b"\n")
    child.stdin.flush()
    wall_ns, monotonic_ns = map(int, child.stdout.readline().split())
    return wall_ns - time.time_ns(), monotonic_ns - time.monotonic_ns()
