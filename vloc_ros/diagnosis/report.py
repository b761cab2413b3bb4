"""Findings as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from vloc_ros.diagnosis.finding import Check, Finding, Level

_WORDS = {Level.OK: "ok", Level.WARNING: "warning", Level.ERROR: "error"}


def worst(findings: Sequence[Finding]) -> Level:
    """The worst level among them."""
    return max((finding.level for finding in findings), default=Level.OK)


def as_table(findings: Sequence[Finding], unseen: Collection[Check] = ()) -> str:
    """One line per finding, with what to do below it; then what could not be looked at, and a summary."""
    width = max((len(finding.check.value) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{_WORDS[finding.level]:<8}{finding.check.value:<{width + 2}}{finding.sentence}")
        if finding.remedy:
            lines.append(" " * (8 + width + 2) + f"-> {finding.remedy}")
    if unseen:
        lines.append(f"not looked at, for lack of messages: {', '.join(check.value for check in unseen)}")
    counts = [sum(finding.level is level for finding in findings) for level in (Level.ERROR, Level.WARNING)]
    lines.append(f"{counts[0]} error(s), {counts[1]} warning(s)")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], unseen: Collection[Check] = ()) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "level": _WORDS[worst(findings)],
        "findings": [finding.to_dict() for finding in findings],
        "not_looked_at": [check.value for check in unseen],
    }
