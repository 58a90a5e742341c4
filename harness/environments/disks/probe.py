"""A write and a sync that are tried on a disk, in a process of their own: one that stalls keeps nobody but itself.

Run as `python -S probe.py FILE TRIES`. Tries until something fails, so often at most; prints one line of JSON with what
became of the write, of the sync, how long they took (milliseconds), and whether what was read back is what was written.
"""

import errno
import json
import os
import sys
import time


def attempt(path: str, content: bytes) -> dict[str, object]:
    """One write and one sync."""
    found: dict[str, object] = {"write": "ok", "sync": "not tried", "read": False}
    began = time.monotonic()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, content)
            found["sync"] = "ok"
            try:
                os.fsync(descriptor)
            except OSError as error:
                found["sync"] = errno.errorcode.get(error.errno or 0, str(error))
            found["read"] = os.pread(descriptor, len(content), 0) == content
        finally:
            os.close(descriptor)
    except OSError as error:
        found["write"] = errno.errorcode.get(error.errno or 0, str(error))
    found["ms"] = round((time.monotonic() - began) * 1000, 3)
    return found


def main() -> None:
    """Entry point."""
    path, tries = sys.argv[1], int(sys.argv[2])
    found: dict[str, object] = {}
    for number in range(1, tries + 1):
        found = attempt(path, os.urandom(32))
        found["tries"] = number
        if found["write"] != "ok" or found["sync"] != "ok":
            break
    try:
        os.unlink(path)
    except OSError:
        found["left"] = path
    print(json.dumps(found))


if __name__ == "__main__":
    main()
