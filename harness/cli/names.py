"""What a shell may complete: names of workloads, nemeses, systems, environments, defects, notations, and saved runs.

A completion must be quick and never fail: what cannot be found out completes to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _starting(names: Iterable[str], begun: str, before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in names if name.startswith(begun)]


def workloads(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of workloads."""
    from harness import catalog

    return _starting(catalog.WORKLOADS, begun)


def systems(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of systems."""
    from harness import catalog

    return _starting(catalog.SYSTEMS, begun)


def environments(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of environments."""
    from harness import catalog

    return _starting(catalog.ENVIRONMENTS, begun)


def nemeses(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of nemeses behind those that stand there already, and after a colon their shapes."""
    from harness import catalog

    packages = catalog.make_packages()
    before, comma, last = begun.rpartition(",")
    name, colon, shape = last.partition(":")
    if colon and name in packages:
        return _starting(packages[name].shapes, shape, f"{before}{comma}{name}:")
    words = packages if comma else ["all", "none", *packages]
    return _starting(words, last, before + comma)


def defects(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of planted defects with their captions."""
    from harness import catalog

    sheets = catalog.defect_sheets()
    return [
        CompletionItem(name, help=sheet.caption)
        for name, sheet in sorted(sheets.items())
        if name.startswith(begun)
    ]


def exports(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of the notations that a history can be written in."""
    from results.export import EXPORTS

    return _starting((one.name for one in EXPORTS), begun)


def runs(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Run folders under --runs-dir, the newest first; files and folders elsewhere are completed by the shell."""
    from results.run_folder import RunFolderError, list_runs

    folder = Path(context.params.get("runs_dir") or "runs")
    try:
        found = sorted((run.path for run in list_runs(folder)), reverse=True)
    except (OSError, RunFolderError):
        found = []
    items = _starting(["latest", *map(str, found)], begun)
    return items or [CompletionItem(begun, type="file")]


OF_SCENARIOS: dict[str, Complete] = {
    "workload": workloads,
    "system": systems,
    "environment": environments,
    "nemesis": nemeses,
    "defect": defects,
}
"""What completes the flag for a field of the scenario."""
