"""A comparison as tables for people."""

from typing import Any

from rich.table import Column, Table

from commands import console
from commands.compare.differing import Compared
from fedward.figures.differences import Difference


def setting_table(names: list[str], settings: dict[str, list[Any]]) -> Table:
    """Settings that differ, a column a run."""
    table = _table("Settings that differ" if settings else "All settings are the same", names)
    for key, values in settings.items():
        table.add_row(console.plain(key), *(console.plain("-" if value is None else str(value)) for value in values))
    return table


def figure_table(names: list[str], figures: dict[str, list[dict[str, Any]]]) -> Table:
    """All figures, a column a run; those of test images with their 95 % intervals."""
    table = _table("Figures", names)
    for name, values in figures.items():
        table.add_row(name, *(_figure(each["value"], each["interval"]) for each in values))
    return table


def difference_table(compared: Compared, first: str) -> Table:
    """How a run differs from the first."""
    how = f"on the same {compared.images} images" if compared.images is not None else "unpaired"
    title = console.plain(f"{compared.name} minus {first}, {how}")
    table = Table("figure", "difference", "95 %", "p", title=title, title_justify="left")
    for name, found in compared.differences.items():
        table.add_row(console.plain(name), *difference_cells(found))
    if not compared.differences:
        table.add_row("-", "not compared", "-", "-")
    return table


def difference_cells(found: Difference | None) -> tuple[str, str, str]:
    """A difference, its interval and the chance, as text."""
    if found is None:
        return "undefined", "-", "-"
    interval = f"{found.interval[0]:+.4f} to {found.interval[1]:+.4f}" if found.interval else "none"
    chance = "-" if found.p is None else "< 0.001" if found.p < 0.001 else f"{found.p:.3f}"
    return f"{found.value:+.4f}", interval, chance


def _table(title: str, names: list[str]) -> Table:
    runs = (Column(console.plain(name), overflow="fold") for name in names)
    return Table(Column("", style="bold"), *runs, title=title, title_justify="left")


def _figure(value: Any, interval: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
    return f"{text} ({interval[0]:.4f} to {interval[1]:.4f})" if interval else text
