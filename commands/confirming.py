"""Ask a person whether a number that was read out over the telephone is the one of what lies here."""

import re

import typer

from fedward.errors import UsageError, VerificationError
from fedward.hosts.spoken import spoken


def confirm_number(what: str, content: bytes, given: str | None) -> None:
    """Compare the number of some bytes with the one that the other side read out; asks for it where none is given.

    Args:
        what: What the number is of, for the question and the error.
        content: The bytes as they lie here.
        given: The number as an option has it; blanks do not matter.

    Raises:
        UsageError: none is given and nobody can be asked.
        VerificationError: the numbers differ.
    """
    if given is None:
        try:
            given = str(typer.prompt(f"Number of {what}, as the other side reads it to you", err=True))
        except (typer.Abort, EOFError) as error:
            raise UsageError(
                f"Nobody confirmed the number of {what}.", "Ask the other side for it by telephone; give --number."
            ) from error
    if re.sub(r"\D", "", given) != spoken(content).replace(" ", ""):
        raise VerificationError(
            f"The number of {what} is {spoken(content)} here, not {given.strip()}.",
            "It was changed on its way, or is another one: get it again by another way.",
        )
