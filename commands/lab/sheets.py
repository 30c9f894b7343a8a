"""A lab's tables, for terminals and as Markdown."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """A table: its title, its headings and its rows, all as texts."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def as_csv(self) -> str:
        """Headings and rows, for other programs."""
        text = io.StringIO()
        csv.writer(text).writerows([self.headings, *self.rows])
        return text.getvalue()


def as_tables(sheets: Iterable[Sheet]) -> Iterator[Table]:
    """Tables for a terminal."""
    for sheet in sheets:
        table = Table(title=sheet.title, title_justify="left")
        for index, heading in enumerate(sheet.headings):
            table.add_column(heading, justify="right" if index else "left")
        for row in sheet.rows:
            table.add_row(*row)
        yield table


def as_markdown(sheets: Iterable[Sheet]) -> str:
    """Tables as Markdown."""
    return "\n\n".join(
        "\n".join(
            [f"**{sheet.title}**", "", _line(sheet.headings), _rule(len(sheet.headings)), *map(_line, sheet.rows)]
        )
        for sheet in sheets
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return f"|---{'|---:' * (columns - 1)}|"
