"""A fault in words: what it was, whom it hit and how, and by what evidence."""

from __future__ import annotations

import re
from typing import Any

from results.history import FaultInterval, History
from results.report.escape import shortened, value_text

MOST_TARGETS = 6
"""Targets that a fault's label names."""
CLIENTS = ("client", "clients")
"""Ends of a link that are no node."""


def fault_label(fault: FaultInterval) -> str:
    """For example `partition one-way: n1→n2, n1→n3`."""
    targets = [target_text(target) for target in fault.targets]
    if len(targets) > MOST_TARGETS:
        targets[MOST_TARGETS - 1 :] = [f"{len(targets) - MOST_TARGETS + 1} more"]
    return f"{fault_name(fault)}: {', '.join(targets)}" if targets else fault_name(fault)


def fault_name(fault: FaultInterval) -> str:
    """Its class and shape: `partition one-way`."""
    return f"{fault.fault} {fault.shape}" if fault.shape else fault.fault


def target_text(target: str) -> str:
    """A target in words: a node `n1`, or a directed link `n1→n2`, however it was written."""
    return "→".join(ends_of(target)) or target


def ends_of(target: str) -> list[str]:
    """The names in a target: one, or the source and the target of a link."""
    return [end for end in re.split(r"->|→|[\s\[\](),'\"]+", target) if end]


def natural_key(name: str) -> tuple[str, int, str]:
    """Sorts n2 before n10."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return head, int(digits) if digits.isascii() and digits else -1, name


def fault_plans(history: History) -> dict[int, dict[str, Any]]:
    """What each step was going to do, by step: `links` that it cuts, `how` its targets were chosen, and the like."""
    plans: dict[int, dict[str, Any]] = {}
    for event in history.nemesis():
        value = event.value
        if event.f == "start" and isinstance(value, dict) and isinstance(value.get("plan"), dict):
            plans[int(value.get("step", -1))] = value["plan"]
    return plans


def links_of(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """The directed links that a plan names."""
    links = plan.get("links")
    if not isinstance(links, list):
        return []
    return [(str(link[0]), str(link[1])) for link in links if isinstance(link, list) and len(link) == 2]


def nodes_of(fault: FaultInterval, plan: dict[str, Any]) -> list[str]:
    """The nodes that a fault touches, sorted; clients are no node."""
    ends = {end for target in fault.targets for end in ends_of(target)}
    ends.update(end for link in links_of(plan) for end in link)
    return sorted(ends - set(CLIENTS), key=natural_key)


def effect_on(node: str, fault: FaultInterval, plan: dict[str, Any]) -> str | None:
    """What a fault does to one node, for example `cut from n2, n3` or `kill`; None if nothing."""
    links = links_of(plan) or [
        (ends[0], ends[1])
        for ends in map(ends_of, fault.targets)
        if len(ends) == 2 and fault.fault == "partition"
    ]
    if links:
        unheard = {source for source, target in links if target == node}
        unreached = {target for source, target in links if source == node}
        parts = [
            (f"{fault.fault}: cut from", unheard & unreached),
            ("hears nothing from", unheard - unreached),
            ("cannot reach", unreached - unheard),
        ]
        told = [f"{words} {', '.join(sorted(names, key=natural_key))}" for words, names in parts if names]
        return "; ".join(told) or None
    return fault_name(fault) if node in nodes_of(fault, plan) else None


def plan_text(plan: dict[str, Any]) -> str:
    """The plan in words, without what the label says."""
    parts = []
    if plan.get("how"):
        parts.append(f"chosen: {plan['how']}")
    links = links_of(plan)
    if links:
        parts.append("links: " + ", ".join(f"{source}→{target}" for source, target in links[:40]))
        if len(links) > 40:
            parts[-1] += f" and {len(links) - 40} more"
    rest = {
        name: value
        for name, value in plan.items()
        if name not in ("how", "links", "targets", "shape", "draw") and value not in (None, [], {})
    }
    if rest:
        parts.append(value_text(rest, 600))
    return "\n".join(parts)


def evidence_text(evidence: Any) -> str:
    """Each probe on a line: what was measured, before and after; whatever is no probe as JSON."""
    if not evidence:
        return ""
    probes = evidence.get("probes") if isinstance(evidence, dict) else None
    if not isinstance(probes, list) or not all(isinstance(probe, dict) for probe in probes):
        return value_text(evidence, 2000)
    lines = [_probe_line(probe) for probe in probes]
    rest = {name: value for name, value in evidence.items() if name not in ("probes", "took_effect")}
    return "\n".join([*lines, *([value_text(rest, 1000)] if rest else [])])


def _probe_line(probe: dict[str, Any]) -> str:
    what = probe.get("what") or probe.get("link") or "probe"
    rest = {
        name: value
        for name, value in probe.items()
        if name not in ("what", "link", "before", "after", "proves")
    }
    line = shortened(str(what), 200)
    if "before" in probe or "after" in probe:
        before, after = (value_text(probe.get(name), 200) for name in ("before", "after"))
        line += f": {before} → {after}"
    if rest:
        line += f" ({value_text(rest, 200)})"
    return line + (", which proves nothing" if probe.get("proves", True) is not True else "")
