"""Fedward's command line: registers the subcommands, and leaves the rest to fedward/entry.py."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from commands import console
from commands.admit import admit, revoke
from commands.agree.command import agree
from commands.approve.command import approve
from commands.audit.command import audit
from commands.budget.command import budget
from commands.compare.command import compare
from commands.doctor.command import doctor
from commands.enroll.command import enroll
from commands.evaluate.command import evaluate
from commands.export import export
from commands.hosts_demo.command import hosts_demo
from commands.info.command import info
from commands.keys.command import keys
from commands.lab.command import lab
from commands.node import node
from commands.predict.command import predict
from commands.protect.command import protect
from commands.provision.command import provision
from commands.prune import prune
from commands.restore.command import restore
from commands.screen.command import screen
from commands.serve.command import serve
from commands.simulate.command import simulate
from commands.study.commands import conclude, start_study, status, stop
from commands.unseal import unseal
from commands.view.command import view
from commands.witness.command import enroll_witness, join_witness
from fedward import entry

COMMAND = "fedward"  # setup/fedward, which `make setup` links into .venv/bin
app = typer.Typer(
    help="Hospitals train one chest X-ray classifier together: private, encrypted, on a verifiable ledger.",
    no_args_is_help=True,
    add_completion=Path(sys.argv[0]).name == COMMAND,  # a shell completes the name of a program, not python's arguments
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (simulate, evaluate, compare, predict, screen, audit, export, info, budget, node, prune, unseal, view):
    app.command(cls=entry.DescribedCommand)(command)
ADMINISTRATION = (provision, admit, start_study, stop, revoke)
HOSPITALS = (enroll, agree, approve, conclude)
SHARING = (protect, restore)
WITNESS = (enroll_witness, join_witness)
for of_hosts in (*ADMINISTRATION, *HOSPITALS, *WITNESS, serve, status, doctor, hosts_demo):
    app.command(cls=entry.DescribedCommand, rich_help_panel="Hospitals on separate hosts")(of_hosts)
for of_images in SHARING:
    app.command(cls=entry.DescribedCommand, rich_help_panel="Sharing images")(of_images)
app.add_typer(keys, name="keys")
app.add_typer(lab, name="lab")


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every subcommand."""
    console.verbose = verbose


def main() -> None:
    """Run the command line."""
    entry.run(app, console.error, lambda: console.verbose)


if __name__ == "__main__":
    main()
