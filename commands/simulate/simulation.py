"""A simulated run from beginning to end: prepare, federate, conclude."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import RunningNode, start_node
from blockchain.witness import follow
from commands import console
from commands.report.writing import write_report
from commands.simulate import baselines, study_budget
from commands.simulate.attacking import PlannedAttack, attackers, give_orders
from commands.simulate.conclusion import conclude
from commands.simulate.founding import settle_founding
from commands.simulate.preparation import found_study, point_to_node, settle_hospitals
from commands.simulate.reading import read_data
from commands.simulate.watching import watch
from commands.tracking.tracking import Following, Tracker
from data_preprocessing import PreparedData
from fedward import settings as setting
from fedward.entry import private_files
from fedward.files import resolved
from fedward.flower import ATTACKER, HONEST, FlowerSimulation, stage_app, stage_attacked_app, stop_left_over
from fedward.flower_home import flower_home
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import announced
from fedward.privacy.study_record import StudyRecord
from fedward.settings import Settings
from fedward.timing import Stopwatch


def simulate_new(
    path: Path,
    settings: Settings,
    with_baselines: bool = False,
    attack: PlannedAttack | None = None,
    tracker: Tracker | None = None,
) -> dict[str, Any]:
    """Start a run in a new folder and run it to its end; returns what `summary.json` holds.

    Args:
        path: The new folder.
        settings: All settings.
        with_baselines: Also train each hospital alone, and one model on all images in one place.
        attack: What malicious hospitals do; None: all are honest.
        tracker: What is told of settings and figures, after each round and at the end.

    Raises:
        BudgetError: the run would pass the limit that was set for these images (`main.py budget`).
        FedwardError: any kind. Every process that was started is stopped. Finished work is kept; a run that fails
            before its first round leaves nothing.
    """
    clock, started = Stopwatch(), time.perf_counter()
    SimulationFolder(path).check_unused()
    record = study_budget.record_for(settings.data)
    with clock.measure("preprocess"):
        data = read_data(settings, record.pseudonym_key() if record else None)
    _warn_of_unnamed_patients(data, settings)
    _warn_of_large_delta(data, settings)
    if record:
        study_budget.check(record, data, settings, with_baselines)
    with ExitStack() as stack:
        stack.enter_context(private_files())
        folder = SimulationFolder.create(resolved(path))
        stack.enter_context(folder.locked())
        node = stack.enter_context(_prepared(folder, settings, data, record))
        if with_baselines:
            baselines.ask_for(folder)
        if attack:
            give_orders(folder, attack)
        following = Following(tracker, folder.path)
        _federate(folder, settings, node, following.after_round)
        baselines.finish(folder, settings)
        summary = conclude(folder, _ledger(folder, node), clock, started)
    _report(folder)
    following.at_end()
    return summary


def simulate_further(
    folder: SimulationFolder, with_baselines: bool = False, tracker: Tracker | None = None
) -> dict[str, Any]:
    """Continue a run that was interrupted, with the settings in its folder.

    Args:
        folder: The run's folder.
        with_baselines: Add baselines, if the run was not started with them.
        tracker: What is told of settings and figures, also of those before the interruption.

    Raises:
        EvidenceError: the folder holds no run.
        FedwardError: as for a new run.
    """
    clock, started = Stopwatch(), time.perf_counter()
    folder = SimulationFolder(resolved(folder.path))
    folder.check_current()
    settings = setting.from_run(folder.server.load_record().settings)
    chain_id = settings.ledger.chain_id
    with private_files(), folder.locked(), start_node(folder.ledger, chain_id, (), private=True, existing=True) as node:
        settle_founding(folder, node.url)
        if with_baselines:
            baselines.ask_for(folder)
        following = Following(tracker, folder.path)
        _federate(folder, settings, node, following.after_round)
        baselines.finish(folder, settings)
        summary = conclude(folder, _ledger(folder, node), clock, started)
    _report(folder)
    following.at_end()
    return summary


def _report(folder: SimulationFolder) -> None:
    """Write the report of a run that has ended and whose node has stopped."""
    with private_files():
        write_report(folder.path)


def _warn_of_unnamed_patients(data: PreparedData, settings: Settings) -> None:
    """Warn that privacy by patient protects only the single image where an image's patient is not known."""
    unnamed = data.manifest["patient_ids"]["images_without_id"]
    if settings.privacy.mode == "sample" and settings.privacy.unit == "patient" and unnamed:
        console.warn(
            f"{unnamed} images name no patient: each is protected as a patient of its own, so a person with "
            "several of them is protected less."
        )


def _warn_of_large_delta(data: PreparedData, settings: Settings) -> None:
    """With a delta above one in the patients, telling all of one patient would count as private."""
    protected = "hospitals" if settings.privacy.mode == "update" else f"{settings.privacy.unit}s"
    count = {"hospitals": len(data.partitions), "images": data.manifest["images"]}.get(
        protected, data.manifest["patients"]
    )
    if settings.privacy.mode != "none" and settings.privacy.delta > 1 / count:
        console.warn(
            f"privacy.delta {settings.privacy.delta:g} is above 1/{count}, one in the {protected}: a release of all "
            f"that is known of one of them could pass as private. Choose less, --set privacy.delta={0.1 / count:.0e}."
        )


@contextmanager
def _prepared(
    folder: SimulationFolder, settings: Settings, data: PreparedData, record: StudyRecord | None
) -> Iterator[RunningNode]:
    """The node that serves the ledger, once everything that comes before the first round is done.

    Where that fails, or is interrupted, nothing is left of the folder.
    """
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder.path, ignore_errors=True)
        parties = settle_hospitals(folder, settings, data)
        with start_node(folder.ledger, settings.ledger.chain_id, parties.addresses(), private=True) as node:
            found_study(folder, settings, data, parties, node.url).ledger.close()
            if record:
                study_budget.enroll(folder, record, data, settings)
            stack.pop_all()  # from here on the run is kept, whatever becomes of it
            yield node


def _federate(folder: SimulationFolder, settings: Settings, node: RunningNode, after_round: Callable[[], None]) -> None:
    """Run Flower until the server has finished, showing what happens; stop all its processes in any case."""
    roster = folder.server.load_record().roster
    settings = point_to_node(folder, [member.hospital for member in roster], settings, node.url)
    folder.server.progress.unlink(missing_ok=True)
    with flower_home(stop_left_over) as home:
        apart = (stage_attacked_app, ATTACKER) if attackers(folder, roster) else (stage_app, HONEST)
        flower = FlowerSimulation.start(home, settings, folder.hospitals, folder.path / "flower.log", *apart)
        try:
            with announced(folder.ledger, node.url), _witnessing(folder, settings):
                watch(folder.server, flower, settings, "Starting Flower, Ray and TensorFlow.", "--resume", after_round)
        finally:
            flower.stop()


@contextmanager
def _witnessing(folder: SimulationFolder, settings: Settings) -> Iterator[None]:
    """Run a witness beside the rounds, where one is required; it reads no key but its own."""
    if not settings.ledger.witness_required:
        yield
        return
    identity, contract = Identity.load(folder.witness.identity), folder.server.load_record().contract
    stop = threading.Event()
    with closing(Ledger.attach(settings.run.rpc_url, contract, identity)) as ledger:
        arguments = (ledger, folder.server.ciphertexts, stop, settings.speed.poll_interval_s, console.warn)
        witness = threading.Thread(target=follow, args=arguments, name="witness", daemon=True)
        witness.start()
        try:
            yield
        finally:
            stop.set()
            witness.join()


def _ledger(folder: SimulationFolder, node: RunningNode) -> Ledger:
    """The run's ledger, to read from."""
    return Ledger.attach(node.url, folder.server.load_record().contract, None)
