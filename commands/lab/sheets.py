"""A lab's tables, for terminals and as Markdown."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

_BORDER = 3  # characters that a table draws beside each cell
_ENOUGH = 14  # characters for a leading column, on average


@dataclass(frozen=True)
class Sheet:
    """A table, all as texts.

    Attributes:
        title: Its title.
        headings: Of its columns.
        rows: Of a cell for each column.
        keys: How many columns, from the left, say what a row is about; the others are figures.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int = 1

    def as_csv(self) -> str:
        """Headings and rows, for other programs."""
        text = io.StringIO()
        csv.writer(text).writerows([self.headings, *self.rows])
        return text.getvalue()


def as_tables(sheets: Iterable[Sheet], width: int) -> Iterator[Table]:
    """Tables for a terminal, in which no figure is cut off as long as a line has room for the widest and for names.

    A sheet that is too wide becomes several tables, each with its leading columns and some of the others.

    Args:
        sheets: What to show.
        width: Of the terminal, in characters.
    """
    for sheet in sheets:
        widths = _widths(sheet, width)
        for number, columns in enumerate(_parts(sheet, widths, width)):
            title = f"{sheet.title}, continued" if number else sheet.title
            table = Table(title=title, title_justify="left")
            for column in columns:
                table.add_column(
                    sheet.headings[column],
                    justify="left" if column < sheet.keys else "right",
                    width=widths[column],
                    overflow="fold",
                )
            for row in sheet.rows:
                table.add_row(*(row[column] for column in columns))
            yield table


def _widths(sheet: Sheet, width: int) -> list[int]:
    """Of each column, in characters: headings may take several lines, cells of figures may not.

    Leading columns leave two thirds to figures, where there are any and that leaves enough, and always room for the
    widest figure, as far as there is any; of leading columns the widest gives way.
    """
    widths = []
    for heading, *cells in zip(sheet.headings, *sheet.rows, strict=True):
        widths.append(max(len(text) for text in (*heading.split(), *cells, "")))
    most = width - _BORDER * sheet.keys - 1
    if figures := widths[sheet.keys :]:
        most = min(max(width // 3, _ENOUGH * sheet.keys), most - max(figures) - _BORDER)
    while sum(widths[: sheet.keys]) > max(most, sheet.keys):
        widths[widths.index(max(widths[: sheet.keys]))] -= 1
    return widths


def _parts(sheet: Sheet, widths: Sequence[int], width: int) -> Iterator[tuple[int, ...]]:
    """The columns of each table: as many as there is room for, one figure at least."""
    leading = tuple(range(sheet.keys))
    part, used = leading, sum(widths[: sheet.keys]) + _BORDER * sheet.keys + 1
    room = width - used
    for column in range(sheet.keys, len(widths)):
        needed = widths[column] + _BORDER
        if needed > room and part != leading:
            yield part
            part, room = leading, width - used
        part, room = (*part, column), room - needed
    yield part


def as_markdown(sheets: Iterable[Sheet]) -> str:
    """Tables as Markdown."""
    return "\n\n".join(
        "\n".join([f"**{sheet.title}**", "", _line(sheet.headings), _rule(sheet), *map(_line, sheet.rows)])
        for sheet in sheets
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(sheet: Sheet) -> str:
    return "|---" * sheet.keys + "|---:" * (len(sheet.headings) - sheet.keys) + "|"
