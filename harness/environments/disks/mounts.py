"""The table of mounts: whether a folder is mounted over, and the end of a mount."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MNT_DETACH = 2
TABLE = Path("/proc/self/mountinfo")


def mount_points(table: str) -> list[str]:
    """The folders that are mounted over, from the text of `/proc/self/mountinfo`."""
    return [_plain(line.split()[4]) for line in table.splitlines()]


def mounts_of(table: str, source: str) -> list[Path]:
    """Those over which a file system of this name is mounted."""
    rows = [line.split(" - ") for line in table.splitlines()]
    return [Path(_plain(head.split()[4])) for head, tail in rows if tail.split()[1] == source]


def _plain(text: str) -> str:
    """Spaces and the like are written as octal numbers."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def is_mounted(folder: Path) -> bool:
    """Asks the kernel's table: a dead layer cannot be asked."""
    return str(folder) in mount_points(TABLE.read_text())


def unmount(folder: Path) -> bool:
    """Whether something was mounted there and is no more. Raises OSError if it cannot be unmounted.

    The mount is taken out of the tree at once, and ends with its last user.
    """
    if not is_mounted(folder):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if library.umount2(os.fsencode(folder), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unmounting {folder}: {os.strerror(number)}")
    return True
