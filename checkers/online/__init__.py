"""Checkers that watch a run while it goes on; each alarm is a violation that the full checker confirms."""
