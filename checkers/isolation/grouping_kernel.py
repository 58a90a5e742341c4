"""Micro-operations sorted by key, and the transaction of each (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython


def group_by_key(
    key: cython.int[:], key_first: cython.int[:], by_key: cython.int[:], keys: cython.Py_ssize_t
) -> None:
    """Sorts micro-operations by key, in order: those of key k become `by_key[key_first[k]:key_first[k + 1]]`."""
    m: cython.Py_ssize_t = len(key)
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    place: cython.int
    for i in range(m):
        key_first[key[i] + 1] += 1
    for k in range(keys):
        key_first[k + 1] += key_first[k]
    for i in range(m):
        k = key[i]
        place = key_first[k]
        by_key[place] = i
        key_first[k] = place + 1
    for k in range(keys, 0, -1):
        key_first[k] = key_first[k - 1]
    key_first[0] = 0


def owners(first: cython.longlong[:], owner: cython.int[:]) -> None:
    """Fills in the transaction of each micro-operation."""
    t: cython.Py_ssize_t
    i: cython.Py_ssize_t
    for t in range(len(first) - 1):
        for i in range(first[t], first[t + 1]):
            owner[i] = t
