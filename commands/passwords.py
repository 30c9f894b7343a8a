"""Where a kit's password lies: asked for once, written down as a path, and found again by every command."""

import os
from pathlib import Path

from blockchain.password import FILE_VARIABLE, VARIABLE, Password, given_or_new_password
from commands import console
from fedward.files import read_file, resolved, write_atomic

POINTER = "password-file"  # in a kit: the path of the file that has its password; the password itself is not in the kit
_MOST_BYTES = 4096


def new_password(file: Path | None) -> Password:
    """The password for keys that this command makes; said where it lies, if it was made just now.

    Raises:
        UsageError: none is given, or in two ways.
        ResourceError: the file could not be written.
    """
    password = given_or_new_password(file)
    if password.made:
        console.warn(f"A password was drawn and is in {password.file}: keep it, and not in the same backup as the kit.")
    if password.file:
        os.environ[FILE_VARIABLE] = str(resolved(password.file))
    return password


def point_to_password(kit: Path, password: Password) -> None:
    """Write down in a kit where its password's file is.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    if password.file:
        write_atomic(kit / POINTER, str(resolved(password.file)).encode(), 0o600)


def use_password_of(kit: Path) -> None:
    """Have this process, and those that it starts, find a kit's password, unless the environment says where it is.

    Raises:
        UsageError, EvidenceError: what the kit says cannot be read.
    """
    if FILE_VARIABLE in os.environ or VARIABLE in os.environ or not (kit / POINTER).exists():
        return
    content = read_file(kit / POINTER, _MOST_BYTES, "The path of the password's file", "Set FEDWARD_PASSWORD_FILE.")
    os.environ[FILE_VARIABLE] = content.decode(errors="replace").strip()
