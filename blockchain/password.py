"""Where the password of an identity's keystore comes from: a file or the environment, never the command line.

Arguments of a process can be read by every user of the machine; its environment by its own user and by the
administrator only, and a file of mode 0600 likewise. A file is the better of the two: it is not handed on to whatever
the process starts.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from fedward.errors import UsageError
from fedward.files import make_folder, read_private, write_atomic

VARIABLE = "FEDWARD_PASSWORD"
FILE_VARIABLE = "FEDWARD_PASSWORD_FILE"

PRIVATE = 0o600
_DRAWN_BYTES = 24
_SUM_DIGITS = 10
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Password:
    """A password, and where it is.

    Attributes:
        text: The password itself; not in `repr`.
        file: The file that it was read from, or that was made for it; None where it came from `FEDWARD_PASSWORD`.
        made: Whether it was drawn just now and the file was made. Then say where the file is: without it the keys are
            lost.
    """

    text: str = field(repr=False)
    file: Path | None
    made: bool = False


def given_password(keystore: Path) -> str:
    """The password that opens a keystore, as the environment gives it.

    Args:
        keystore: Which one; for the error.

    Raises:
        UsageError: neither variable is set or both are, the file is missing, or readable by others, or its first line
            is empty or not UTF-8.
    """
    password = _from_environment()
    if password is None:
        raise UsageError(
            f"The keystore {keystore} needs its password.",
            f"Name the file that has it in {FILE_VARIABLE}, or set {VARIABLE}.",
        )
    return password.text


def given_or_new_password(file: Path | None = None) -> Password:
    """The password for keys that are about to be made.

    Args:
        file: What `--password-file` names, if anything: the password is its first line. Where no such file is, one is
            made with a random password, readable by its owner only. `FEDWARD_PASSWORD_FILE` may name the same file.

    Raises:
        UsageError: the password is given in more than one way or in none, or as `given_password`.
        ResourceError: the file could not be written.
    """
    password = None if file and _names_same(file) else _from_environment()
    if password and file:
        raise UsageError(
            f"Both --password-file and {FILE_VARIABLE if password.file else VARIABLE} give a password.",
            "Leave one of them out.",
        )
    if password:
        return password
    if file is None:
        raise UsageError(
            "The new keys need a password.",
            f"Name a file with --password-file (made where it is missing) or in {FILE_VARIABLE}, or set {VARIABLE}.",
        )
    if os.path.lexists(file):
        return Password(_first_line(file), file)
    drawn = draw_password()
    make_folder(file.parent)
    write_atomic(file, drawn.encode() + b"\n", PRIVATE)
    return Password(drawn, file, made=True)


def draw_password() -> str:
    """A random password of 192 bits, with a sum at its end by which `is_drawn` knows it again."""
    drawn = secrets.token_urlsafe(_DRAWN_BYTES)
    return f"{drawn}.{_sum_of(drawn)}"


def is_drawn(password: str) -> bool:
    """Whether `draw_password` made a password: then nobody guesses it, however cheap a trial is."""
    drawn, _, given = password.partition(".")
    return hmac.compare_digest(given.encode(), _sum_of(drawn).encode())


def _sum_of(drawn: str) -> str:
    """Ten hexadecimal digits that no password of a person's has by accident."""
    return hashlib.sha256(b"Fedward: a drawn password\0" + drawn.encode()).hexdigest()[:_SUM_DIGITS]


def _names_same(file: Path) -> bool:
    """Whether the environment names just this file, so that keys can be made and used under one environment."""
    named = os.environ.get(FILE_VARIABLE)
    return named is not None and VARIABLE not in os.environ and Path(named).absolute() == file.absolute()


def _from_environment() -> Password | None:
    """The password that one of the two variables gives; None where neither is set."""
    path, text = os.environ.get(FILE_VARIABLE), os.environ.get(VARIABLE)
    if path is not None and text is not None:
        raise UsageError(f"Both {FILE_VARIABLE} and {VARIABLE} are set.", "Leave one of them out.")
    if path is not None:
        return Password(_first_line(Path(path)), Path(path))
    if text == "":
        raise UsageError(f"{VARIABLE} is empty.", f"Set it to the password, or name a file in {FILE_VARIABLE}.")
    return None if text is None else Password(text, None)


def _first_line(path: Path) -> str:
    """A file's first line, without its end."""
    what = f"The password file {path}"
    content = read_private(path, _MOST_BYTES, what, "Name the file whose first line is the password.")
    try:
        line = content.decode("utf-8-sig").partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{what} is not UTF-8.", "Write the password in it as a line of text.") from None
    if not line:
        raise UsageError(f"The first line of {path} is empty.", "Write the password in it.")
    return line
