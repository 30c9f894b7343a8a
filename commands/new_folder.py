"""The folder that a command is to make."""

from pathlib import Path

from fedward.errors import UsageError


def check_new(folder: Path, option: str = "--out") -> None:
    """Make sure that nothing is where a new folder is to be, or an empty folder.

    Args:
        folder: Where it is to be.
        option: The option that named it.

    Raises:
        UsageError: something is.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is in use.", f"Choose a new folder with {option}, or remove it.")
