"""One self-contained HTML page from a run folder, for people; it reads only the folder."""

from results.report.writer import write_report

__all__ = ["write_report"]
