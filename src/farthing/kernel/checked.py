"""What a check of a law found. Each room checks the laws that it owns; `farthing doctor` asks them all."""

from dataclasses import dataclass

FINDINGS_MAX = 100
"""Findings of one check that are named; the last one says how many more there are."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How much one check looked at, and a sentence for everything that is off (none: all is well)."""

    looked_at: str
    findings: tuple[str, ...] = ()


def checked(count: int, noun: str, findings: list[str]) -> Checked:
    """The result of a check of so many things, with no more findings than anybody reads."""
    if len(findings) > FINDINGS_MAX:
        rest = len(findings) - FINDINGS_MAX
        findings = [*findings[:FINDINGS_MAX], f"and {rest} more"]
    return Checked(f"{count:,} {noun}{'' if count == 1 else 's'}", tuple(findings))
