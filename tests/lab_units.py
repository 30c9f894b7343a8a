"""Runs a lab's units in the test's own process, in place of `fedward.labs.units.run_units`, which starts others."""

from typing import Any


def in_this_process(results: Any, units: Any, run: Any, report: Any) -> None:
    """Run the units that have no results yet, one after the other."""
    for unit in units:
        if results.of(unit) is None:
            results.keep(unit, run(unit))
    report(1, 1)
