"""Start, watch and stop a study: its rounds run in the server's process, which the SuperLink starts."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from commands import console
from commands.simulate.watching import watch
from commands.study.membership import opened_registrar
from fedward import settings as setting
from fedward.errors import QuorumError, UsageError
from fedward.files import read_file
from fedward.hosts.bundle import MOST_BYTES
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_control import SuperLinkControl
from fedward.settings import Settings, to_run_config

_LOOK_S = 1.0
_NO_KEY = bytes(32)


@dataclass
class StudyRun:
    """The run in which Flower leads the rounds, for whoever watches.

    Attributes:
        control: Asks the SuperLink.
        run_id: Flower's number of the run.
        log: Where the server's process writes to.
    """

    control: SuperLinkControl
    run_id: int
    log: Path
    _looked: tuple[float, bool] = field(default=(0.0, True))

    def running(self) -> bool:
        """Whether the run may still make progress; asked at most once a second."""
        at, running = self._looked
        if running and time.monotonic() > at + _LOOK_S:
            running = self.run_id in running_runs(self.control)
            self._looked = (time.monotonic(), running)
        return running

    def last_words(self) -> str:
        """The last error in the run's log; empty where there is none."""
        details = [run.details for run in self.control.list_runs() if run.run_id == self.run_id]
        return details[0] if details else ""


def running_runs(control: SuperLinkControl) -> tuple[int, ...]:
    """Flower's numbers of the runs that have not ended."""
    return tuple(run.run_id for run in control.list_runs() if run.status != "finished")


def lead(kit: ServerKit, detach: bool) -> None:
    """Start the study, or go on with it, and watch it unless told not to.

    Raises:
        QuorumError: too few hospitals are admitted, or they have not agreed to the roster.
        UsageError: the study is running already.
        LedgerError, ResourceError: the server's processes are not running.
        FedwardError: the study stopped with an error.
    """
    project = kit.load_project()
    with opened_registrar(kit) as ledger:
        _check_ready(ledger, project.settings)
    with SuperLinkControl(kit) as control:
        if running_runs(control):
            raise UsageError("The study is running already.", "Watch it with `status`, or stop it with `stop`.")
        kit.study.progress.unlink(missing_ok=True)
        kit.study.pause.unlink(missing_ok=True)
        bundle = read_file(kit.bundle, MOST_BYTES, "The bundle", "Provision anew.")
        run = StudyRun(control, control.start_run(bundle, to_run_config(project.settings)), kit.logs / "superlink.log")
        if detach:
            console.note(f"The study has started as run {run.run_id}; `status` shows how it goes.")
            return
        hospitals = len(kit.study.load_record().roster)
        settings = setting.replace(project.settings, "data.hospitals", max(2, hospitals))
        watch(kit.study, run, settings, "Starting the rounds.", "start-study")
    if kit.study.pause.exists():
        console.out.print("The study is paused; start-study goes on with it.")
        return
    console.out.print("The rounds are done. Every hospital now runs: main.py conclude KIT", soft_wrap=True)


def stop_leading(kit: ServerKit, now: bool) -> None:
    """Stop the study: after the round that runs, or at once, when that round is aborted on the ledger.

    Raises:
        LedgerError, ResourceError: the server's processes are not running.
    """
    with SuperLinkControl(kit) as control:
        if not running_runs(control):
            console.note("The study is not running.")
        elif now:
            for run_id in running_runs(control):
                control.stop_run(run_id)
        else:
            kit.study.ask_to_pause()
            console.note("Waiting for the end of the round that runs.")
            while running_runs(control):
                time.sleep(_LOOK_S)
    with opened_registrar(kit) as ledger:
        latest = ledger.latest_round()
        if latest and ledger.round(latest).phase in (RoundPhase.OPEN, RoundPhase.VOTING):
            ledger.abort_round(latest, "stopped")
            console.note(f"Round {latest} was aborted.")
    console.out.print("The study is stopped; start-study goes on with it.")


def _check_ready(ledger: Ledger, settings: Settings) -> None:
    """Make sure that a round can be opened."""
    roster = ledger.roster()
    if len(roster) < settings.ledger.min_included:
        raise QuorumError(
            f"{len(roster)} hospitals are admitted, {settings.ledger.min_included} are needed.",
            "Admit the others: main.py admit KIT REQUEST.json",
        )
    context = ledger.key_context()
    if context.fingerprint == _NO_KEY:
        raise QuorumError(
            f"The key of epoch {context.epoch} has not been dealt.",
            f"Every hospital has to run `agree` since the roster changed, above all the dealer, {context.dealer}.",
        )
