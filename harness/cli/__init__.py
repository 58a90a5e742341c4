"""The command line: `harness test`, `check`, `heal`, `list` and the rest."""
