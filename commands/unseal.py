"""`main.py unseal`: a hospital looks at its own sealed picture."""

from pathlib import Path
from typing import Annotated

import typer


def unseal(
    hospital: Annotated[Path, typer.Argument(help="The hospital's kit; or its folder in a simulation's run folder.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="New file, which shows patients' images in the clear.")],
) -> None:
    """As a hospital: write the picture of its image encryption in the clear, to look at it."""
    from blockchain.own_images import open_picture
    from commands import console
    from commands.own_hospital import hospital_at
    from fedward.errors import UsageError
    from fedward.files import write_atomic

    folder = hospital_at(hospital)
    if out.exists():
        raise UsageError(f"{out} is in use.", "Choose a new file.")
    write_atomic(out, open_picture(folder), 0o600)
    console.out.print(f"{out} shows patients' images in the clear: delete it when you have seen it.", soft_wrap=True)
