"""What `harness heal` does for the environment `local`."""

from harness.environments.undo_processes import sweep, undo

__all__ = ["sweep", "undo"]
