"""Where the commands write: data to stdout, everything else to stderr."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fedward.progress import Progress as Report

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
verbose = False


def error(text: str) -> None:
    """Say why the program stops."""
    err.print(f"[bold red]Error:[/] {plain(text)}", soft_wrap=True)


def warn(text: str) -> None:
    """Say what the reader should know, and go on."""
    err.print(f"[bold yellow]Warning:[/] {plain(text)}", soft_wrap=True)


def note(text: str) -> None:
    """Say what is happening."""
    err.print(plain(text), soft_wrap=True)


def data(value: Any) -> None:
    """Print a result for programs, as JSON."""
    print(json.dumps(value, indent=2))


@contextmanager
def bar(title: str) -> Iterator[Report]:
    """A progress bar on stderr, as the callback that work reports to."""
    with progress() as shown:
        task = shown.add_task(title, total=None)

        def report(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield report


def progress() -> Progress:
    """An empty progress display on stderr; it stays silent where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err)


def printable(text: str) -> str:
    """A text in which nothing moves the cursor, changes colors, or turns the direction of what follows.

    Names of files, findings and hospitals come from outside.
    """
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def plain(text: str) -> str:
    """A printable text of one or more lines, with brackets escaped, so that rich takes none of them for markup."""
    return escape("\n".join(printable(line) for line in text.split("\n")))
