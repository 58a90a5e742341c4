"""A history in, a verdict out. Pure, and usable without the harness: imports only results."""
