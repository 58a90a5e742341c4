"""A history in, a verdict out. Pure, and usable without the harness: imports only results."""

import results  # noqa: F401 - before any kernel of ours is imported: results decides in which form kernels run.
