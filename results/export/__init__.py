"""A run's history in the notations of other tools; the way back is `results/interchange`."""

from __future__ import annotations

from results.export.formats import EXPORTS, Export, ExportError, export

__all__ = ["EXPORTS", "Export", "ExportError", "export"]
