"""What `harness heal` does for the environment `netns`."""

from harness.environments.undo_processes import sweep, undo

__all__ = ["sweep", "undo"]
