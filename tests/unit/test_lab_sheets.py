"""Tables of labs in terminals: whatever their width, every figure is there, whole and once."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from commands.lab.sheets import Sheet, as_markdown, as_tables

ABOUT = ("what the server sees", "images")
FIGURES = tuple(f"figure {number}" for number in range(20))
WIDE = Sheet(
    "What was found",
    (*ABOUT, *FIGURES),
    tuple((f"none, batch {row}", "16", *(f"{100 * row + column}.25" for column in range(20))) for row in range(1, 4)),
    keys=2,
)


def shown(sheet: Sheet, width: int) -> str:
    """What a terminal of some width shows."""
    terminal = Console(file=io.StringIO(), width=width, highlight=False)
    for table in as_tables([sheet], width):
        terminal.print(table)
    text: str = terminal.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_wide_sheet_is_cut_between_columns(width: int) -> None:
    text = shown(WIDE, width)
    for row in WIDE.rows:
        for cell in row[2:]:
            assert re.findall(rf"(?<!\S){re.escape(cell)}(?!\S)", text) == [cell]
    parts = text.count("What was found")
    assert parts > 1
    assert text.count("continued") == parts - 1
    assert text.count("none, batch 2") == parts, "every part says what its rows are about"
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [30, 40, 50])
def test_names_give_way_to_figures_in_a_narrow_terminal(width: int) -> None:
    named = Sheet(
        "Every attack",
        ("defense", "attack", "bound", "AUC"),
        (("train-mixed", "pgd:iterations=20", "1.15", "0.971"),),
        3,
    )
    assert re.search(r"(?<!\S)0\.971(?!\S)", shown(named, width))


def test_a_sheet_for_which_there_is_room_stays_in_one() -> None:
    assert shown(WIDE, 400).count("What was found") == 1


def test_leading_columns_alone_share_the_width() -> None:
    said = "an explanation that is longer than any line of the terminal, and so takes several of them " * 2
    text = shown(Sheet("Verdict", ("cipher", "by"), (("aes-256-gcm", said.strip()),), keys=2), 80)
    assert "aes-256-gcm" in text
    assert all(word in text for word in said.split())


CELLS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)


@given(st.lists(CELLS, min_size=2, max_size=12, unique=True), st.integers(40, 200))
def test_no_figure_is_lost(cells: list[str], width: int) -> None:
    sheet = Sheet("Found", ("row", *(str(number) for number in range(len(cells)))), (("none", *cells),))
    text = shown(sheet, width)
    for cell in cells:
        assert re.search(rf"(?<!\S){re.escape(cell)}(?!\S)", text), cell


def test_markdown_has_figures_on_the_right() -> None:
    assert as_markdown([Sheet("Found", ("row", "by", "figure"), (("none", "pgd", "0.9"),), keys=2)]) == (
        "**Found**\n\n| row | by | figure |\n|---|---|---:|\n| none | pgd | 0.9 |"
    )
