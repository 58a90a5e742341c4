"""The bytes of a history file, unpacked; what is no such file is told by name."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

from results.history import HistoryError

_GZIP: Final = b"\x1f\x8b"
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


def read_bytes(path: Path) -> bytes:
    """All bytes of a file; gzip and Zstandard are known by their first bytes. Raises HistoryError, which names it."""
    try:
        packed = path.read_bytes()
    except IsADirectoryError:
        raise HistoryError(
            f"{path} is a folder; name the files in it, or a run folder (with a scenario.toml)"
        ) from None
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # A name with a zero byte.
        raise HistoryError(f"{str(path)!r} is no name of a file: {error}") from error
    return unpack(packed, str(path))


def unpack(packed: bytes, where: str) -> bytes:
    """The bytes, unpacked if they are packed. Raises HistoryError; `where` names them."""
    if packed.startswith(_GZIP):
        try:
            return gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise HistoryError(f"{where} is packed with gzip and damaged: {error}") from error
    if packed.startswith(_ZSTANDARD):
        try:
            import zstandard
        except ImportError:
            raise HistoryError(
                f"{where} is packed with Zstandard, for which Python needs the package zstandard; unpack it with "
                "`zstd -d`, or pack it with gzip"
            ) from None
        try:
            with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream:
                return bytes(stream.read())
        except zstandard.ZstdError as error:
            raise HistoryError(f"{where} is packed with Zstandard and damaged: {error}") from error
    return packed
