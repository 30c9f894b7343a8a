"""Makes the views that are attacked: of each party what it holds of a round, and the lab's images to measure by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from commands.lab.leakage_run.holdings import Held, ciphertexts_of, holds_channel_key, names_in, read_as_numbers
from commands.lab.leakage_run.opened_rounds import OpenedRound
from data_preprocessing import load_partition
from fedward.folders.simulation import SimulationFolder
from fedward.labs.leakage.parties import NULL, PLANTED, Effort, Groups, View, groups_of
from fedward.labs.leakage.party_attack import plain_gradients
from fedward.learning.model import Classifier
from fedward.local_update import local_update
from fedward.seeding import public_rng
from fedward.settings import Settings
from fedward.types import HospitalId, ImageSet, Partition, Vector

Wide = NDArray[np.float64]

MOST_OFF = 0.1  # of a repeated update's norm: above it, what was repeated is not what was sent


@dataclass(frozen=True)
class Scene:
    """What all views of a run share.

    Attributes:
        run: The run's folder.
        settings: The study's.
        classifier: Of the model's shape.
        partitions: The hospitals' images by name, read from the run's data: the lab's knowledge.
        effort: How hard parties are attacked.
    """

    run: SimulationFolder
    settings: Settings
    classifier: Classifier = field(repr=False)
    partitions: Mapping[HospitalId, Partition] = field(repr=False)
    effort: Effort

    @property
    def others(self) -> ImageSet:
        """X-rays of patients whom nobody trained on: what the attacker has."""
        parts = [part for each in self.partitions.values() for part in (each.val, each.test) if len(part)]
        return ImageSet.joined(parts)


def views_of(
    scene: Scene, opened: OpenedRound, names: Sequence[HospitalId], repeated: Mapping[HospitalId, Wide] | str
) -> Iterator[tuple[Held, View]]:
    """What each party holds of a round; the last hospital of the sum is the one that is spied on, the first the spy.

    Args:
        scene: Of the run.
        opened: The round.
        names: Of the hospitals in the sum, in roster order.
        repeated: See `repeated_updates`.

    Raises:
        EvidenceError: a file that a party should have is missing.
        DataError: there are too few patients.
    """
    run, spy, victim = scene.run, names[0], names[-1]
    own, all_others = _groups(scene, [victim]), _groups(scene, names[1:] or names)
    board = names_in(
        run, run.server.path / "run.json", run.server.ciphertexts.path / f"round-{opened.round_index:04d}.json"
    )
    chunks, files = ciphertexts_of(run, opened.round_index, opened.included[-1].address)
    leaked = holds_channel_key(run, run.server.path, spy)
    yield _planted(scene, opened, victim, own)
    yield _noise(scene, opened, victim, own)
    total = (-opened.mean * opened.weight).astype(np.float32)
    at_server = names_in(run, *files)
    if leaked:
        told = f"the channel key, in {', '.join(leaked)}: with it the opened sum of {len(names)}"
        yield Held("server alone", told, (*board, *leaked)), _view(scene, opened, names, total, all_others)
    else:
        told = f"{len(chunks)} ciphertexts of {victim}'s update, and no key that opens them"
        yield (
            Held("server alone", told, (*board, *at_server)),
            _view(scene, opened, [victim], read_as_numbers(chunks, total.size), own),
        )
    chunks, files = ciphertexts_of(run, opened.round_index, None)
    told = f"{len(chunks)} ciphertexts of the sum, the ledger, and no key"
    ledger = names_in(run, run.ledger / "chain.sqlite", run.trust)
    yield (
        Held("auditor", told, (*board, *ledger, *names_in(run, *files))),
        _view(scene, opened, names, read_as_numbers(chunks, total.size), all_others),
    )
    keys = names_in(run, *sorted(run.hospital(spy).keys.glob("*.key")))
    releases = names_in(run, run.server.path / "releases" / f"round-{opened.round_index:04d}-updates.json")
    told = f"its channel key, and with what others released the opened sum of {len(names)}, its own update in it"
    yield (
        Held(f"{spy} alone", told, (*keys, *releases, *names_in(run, *files))),
        _view(scene, opened, names, total, all_others),
    )
    if isinstance(repeated, str):
        return
    for count in dict.fromkeys((1, len(names) - 1)):
        helpers = names[:count]
        if 0 < count < len(names):
            yield _taken_off(scene, opened, names, total, (*keys, *releases), repeated, helpers)


def _taken_off(
    scene: Scene,
    opened: OpenedRound,
    names: Sequence[HospitalId],
    total: Vector,
    files: tuple[str, ...],
    repeated: Mapping[HospitalId, Wide],
    helpers: Sequence[HospitalId],
) -> tuple[Held, View]:
    """The sum less the updates of hospitals that help the server: of one, or of all but one."""
    left = names[len(helpers) :]
    held = total.astype(np.float64)
    for entry, name in zip(opened.included, helpers, strict=False):
        held = held + entry.weight * repeated[name]
    files += names_in(scene.run, *(scene.run.hospital(name).partition for name in helpers))
    who = f"server with {helpers[0]}" if len(helpers) == 1 else f"server with all but {left[0]}"
    what = f"the sum of the other {len(left)}" if len(left) > 1 else f"{left[0]}'s update by itself"
    told = f"the opened sum less {'its' if len(helpers) == 1 else 'their'} own update: {what}"
    return Held(who, told, files), _view(scene, opened, left, held.astype(np.float32), _groups(scene, left))


def repeated_updates(scene: Scene, opened: OpenedRound, names: Sequence[HospitalId]) -> dict[HospitalId, Wide] | str:
    """The updates of a round, trained again from each hospital's own file of images, as it can do who kept none.

    Returns:
        By hospital, float64, shape (parameters,); or why that cannot be done.
    """
    if scene.settings.privacy.mode != "none":
        return "No update can be taken off a sum: none is kept, and training it again draws other noise."
    sealed = [name for name in names if not scene.run.hospital(name).partition.exists()]
    if sealed:
        return f"No update can be taken off a sum: the images of {', '.join(sealed)} are not there in the clear."
    found = {}
    for name in names:
        partition = load_partition(scene.run.hospital(name).partition)
        trained = local_update(partition, opened.model, scene.classifier, scene.settings, opened.round_index)
        found[name] = trained.delta.astype(np.float64)
    total = opened.mean * opened.weight
    again = sum(entry.weight * found[name] for entry, name in zip(opened.included, names, strict=True))
    off = float(np.linalg.norm(again - total) / np.linalg.norm(total))
    if off > MOST_OFF:
        return f"No update can be taken off a sum: trained again, updates differ from those sent by {100 * off:.0f} %."
    return found


def _planted(scene: Scene, opened: OpenedRound, victim: HospitalId, groups: Groups) -> tuple[Held, View]:
    """The control that must be found: gradients of single images of one hospital, plain, at the round's model."""
    few = groups.first(scene.effort.planted)
    vectors = plain_gradients(scene.classifier, opened.model.weights, few.victims, few.labels)
    view = View(
        opened.model.weights,
        vectors,
        few.labels[:1],
        _prior(scene),
        few.candidates,
        few.labels,
        few.places,
        few.victims,
    )
    return Held(PLANTED, f"made by the lab: one image of {victim}, one step, no noise, no sum", ()), view


def _noise(scene: Scene, opened: OpenedRound, victim: HospitalId, groups: Groups) -> tuple[Held, View]:
    """The control in which nothing may be found."""
    rng = public_rng("lab noise", scene.settings.training.seed, opened.round_index)
    noise = rng.standard_normal(opened.mean.shape).astype(np.float32)
    return Held(NULL, "made by the lab: random numbers", ()), _view(scene, opened, [victim], noise, groups)


def _view(scene: Scene, opened: OpenedRound, names: Sequence[HospitalId], held: Vector, groups: Groups) -> View:
    behind = ImageSet.joined([scene.partitions[name].train for name in names])
    rng = public_rng("lab labels", scene.settings.training.seed, opened.round_index)
    labels = behind.labels[rng.choice(len(behind), min(scene.effort.searched, len(behind)), replace=False)]
    scaled = held / max(float(np.linalg.norm(held)), 1e-30)
    return View(
        opened.model.weights,
        scaled[None].astype(np.float32),
        labels.astype(np.float32),
        _prior(scene),
        groups.candidates,
        groups.labels,
        groups.places,
        behind.pixels(),
    )


def _prior(scene: Scene) -> Vector:
    return np.asarray(scene.others.pixels().mean(0), np.float32)


def _groups(scene: Scene, names: Sequence[HospitalId]) -> Groups:
    """Victims of the named hospitals, the same in every round and for every party that sees just these hospitals."""
    trained = ImageSet.joined([scene.partitions[name].train for name in names])
    rng = public_rng("lab groups", scene.settings.training.seed, *names)
    return groups_of(trained, scene.others, scene.effort.victims, scene.effort.among, rng)
