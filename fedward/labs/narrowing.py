"""Narrows a lab's plan to what was asked for."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from fedward.tables import Scalar

Changes = tuple[tuple[str, Scalar], ...]


class NamedCase(Protocol):
    """One row of a lab's table."""

    @property
    def name(self) -> str:
        """Its name."""
        ...


class PlanOfCases(Protocol):
    """What a lab runs: a frozen dataclass with these fields among others."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """What decides all draws."""
        ...

    @property
    def cases(self) -> tuple[NamedCase, ...]:
        """The rows."""
        ...

    @property
    def changes(self) -> Changes:
        """Settings of the images."""
        ...


Plan = TypeVar("Plan", bound=PlanOfCases)


def narrowed(plan: Plan, seeds: tuple[int, ...], wanted: Sequence[str], changes: Changes) -> Plan:
    """The plan with what was asked for.

    Args:
        plan: Quick or full.
        seeds: In place of its own; none: its own.
        wanted: Names of cases that alone stay; none: all.
        changes: Settings that are added to its own.
    """
    cases = tuple(case for case in plan.cases if not wanted or case.name in wanted)
    fields: dict[str, Any] = {"seeds": seeds or plan.seeds, "cases": cases, "changes": (*plan.changes, *changes)}
    return dataclasses.replace(plan, **fields)  # type: ignore[type-var]
