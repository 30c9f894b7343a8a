"""Options of `main.py info`."""

from pathlib import Path
from typing import Annotated

import typer


def info(
    run: Annotated[Path | None, typer.Argument(help="A run folder; without it, the settings of a new run.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="A setting.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show instead what encryption costs and holds.")] = False,
    hospitals: Annotated[int | None, typer.Option(help="With --plan: on the roster.")] = None,
    parameters: Annotated[int | None, typer.Option(help="With --plan: of the model.")] = None,
    resolution: Annotated[float | None, typer.Option(help="With --plan: a step of the sum that is needed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the effective settings, what can be chosen, and what is and is not protected."""
    from commands.info.layouts import show_layouts
    from commands.info.sheet import effective, show_sheet

    shown = effective(run, config, assignments or [])
    if plan:
        show_layouts(shown, hospitals, parameters, resolution, as_json)
    else:
        show_sheet(shown.settings, as_json)
