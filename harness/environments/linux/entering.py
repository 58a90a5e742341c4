"""Sockets in the network namespaces of other processes. Imports nothing of ours, so that small programs start fast."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable

CLONE_NEWNET = 0x40000000


def open_inside(pid: int, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket belongs to the namespace in which it was made; a thread enters it, makes the socket and ends.
    Process 0 is this one.

    Raises OSError if the namespace of the process cannot be entered, or `make` raises it.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter_and_open() -> None:
        try:
            descriptor = os.open(f"/proc/{pid or 'self'}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                library = ctypes.CDLL(None, use_errno=True)
                if library.setns(descriptor, CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns: {os.strerror(number)}")
            finally:
                os.close(descriptor)
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter_and_open, name="open-inside")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
