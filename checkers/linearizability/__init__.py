"""Linearizability: models, the quick way for registers, the general search, the explanation."""

from checkers.linearizability import models
from checkers.linearizability.checker import LinearizabilityChecker

__all__ = ["LinearizabilityChecker", "models"]
