"""Show what changes with a bundle, ask for its number, and write the approval down."""

from pathlib import Path

import typer

from commands import console
from fedward.errors import UsageError
from fedward.hosts.approvals import Approvals
from fedward.hosts.bundles import Bundle, Changes, changes
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.spoken import DIGITS, GROUPS, spoken


def ask_and_approve(path: Path, bundle: Path, number: str | None) -> None:
    """Approve a bundle for a hospital, once somebody has given its number.

    Args:
        path: The hospital's kit.
        bundle: The code.
        number: Its number; None: it is asked for, after the changes were shown.

    Raises:
        UsageError: the number is another bundle's, or the kit is none.
        VerificationError: it is no bundle, or one that is made to deceive.
    """
    kit = HospitalKit(path)
    project = kit.load_project()
    settings, approvals = project.settings, Approvals(kit.approvals)
    new, current = Bundle.load(bundle), approvals.current()
    digest = new.settings_digest(settings)
    if current and (current.bundle, current.settings) == (new.digest(), digest):
        approvals.keep(new.content)
        console.note("This is the code that is approved already.")
        return
    kept = approvals.kept(current.bundle) if current else None
    _show(changes(Bundle.load(kept) if kept else None, new, settings), known=kept is not None)
    if digest != project.require_deployed().settings_digest:
        console.warn(
            "Under this code the study's settings are others than those on its ledger: a run of it is refused until "
            "this hospital joins a study with these settings."
        )
    _check(number or typer.prompt("The number of this code, as the administrator reads it out", err=True), new)
    approvals.keep(new.content)
    approvals.approve(new.digest(), digest)
    console.note("Approved. Code that was approved before runs no more; no restart is needed.")


def _show(found: Changes, known: bool) -> None:
    """Print the changes, or all files where the hospital has not seen the code that it approved."""
    if not known:
        console.note("This hospital has no copy of code that it approved before, so all files are new:")
    for word, names in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        for name in names:
            print(f"{word}  {name}")
    for key, (before, after) in found.settings.items():
        print(f"setting  {key}: {_shown(before)} -> {_shown(after)}")
    for line in found.diff:
        print(console.printable(line))


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value)


def _check(number: str, bundle: Bundle) -> None:
    """Raise UsageError where a number is not the bundle's, however its digits are grouped."""
    given = "".join(letter for letter in number if letter not in " -\t")
    if given != spoken(bundle.content).replace(" ", ""):
        raise UsageError(
            "This is not the number of this code; nothing was approved.",
            f"Ask the administrator to read the {GROUPS} groups of {DIGITS} digits again; where they still differ, "
            "this is other code than the administrator's.",
        )
