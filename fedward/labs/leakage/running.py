"""Runs one unit of the lab: trains a denoiser, attacks one case, or cleans what was found of it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedward.files import make_folder, write_atomic
from fedward.labs import lab_folder
from fedward.labs.hospitals_data import load_hospitals
from fedward.labs.lab_folder import keep, kept_as, many_networks
from fedward.labs.leakage.inversion import Inverter, ceiling
from fedward.labs.leakage.measures import figures, means
from fedward.labs.leakage.networks import LocalTraining, new_network, trained
from fedward.labs.leakage.obfuscations import Encryption, obfuscations
from fedward.labs.leakage.plan import TRAINED, Plan, Unit, all_cases
from fedward.labs.leakage.trial import Picture, Trial, victims_rng
from fedward.labs.leakage.victims import Scene, draw, scene_of
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.registry import reader_from, train_reader
from fedward.seeding import public_rng

_BLUR = 0.05  # deviation of the noise on what the denoiser learns from, as attempts have some


class LabFolder(lab_folder.LabFolder):
    """The lab's folder: partitions of each seed, results, what was found of each case."""

    path: Path

    def denoiser(self, seed: int) -> Path:
        """Where the denoiser of a seed lies."""
        return self.path / "denoisers" / f"{seed}.bin"


@dataclass(frozen=True)
class Given:
    """What the lab is given from outside of this package.

    Attributes:
        encryption: The federation's.
        presets: By the names of private presets, clip norm and noise multiplier of one step.
    """

    encryption: Encryption
    presets: Mapping[str, tuple[float, float]]


def check_enough(folder: LabFolder, plan: Plan, given: Given) -> None:
    """See that there are images enough for every case of a plan, before any is attacked.

    Raises:
        DataError: there are too few for one of them.
    """
    known = obfuscations(given.encryption, given.presets)
    counts = {case.batch * known[case.obfuscation].hospitals for case in all_cases(plan)}
    for seed in plan.seeds:
        scene = _scene(folder, seed)
        for count in sorted(counts, reverse=True):
            for index in range(plan.victims):
                draw(scene.victims, count, plan.candidates, victims_rng(seed, index))


def run_unit(folder: LabFolder, plan: Plan, given: Given, unit: Unit) -> dict[str, Any]:
    """Run one unit; what it starts from is there.

    Raises:
        DataError: there are too few images.
    """
    many_networks()
    scene = _scene(folder, unit.seed)
    if unit.case is None:
        learned = train_denoiser(scene, plan, unit.seed)
        make_folder(folder.denoiser(unit.seed).parent)
        write_atomic(folder.denoiser(unit.seed), learned.as_bytes())
        return {"pairs": min(plan.pairs, len(scene.others))}
    if unit.cleaned:
        return clean(folder, unit)
    case = unit.case
    local = LocalTraining(case.local_steps, plan.local_rate)
    network, inverter = _attacked(folder, plan, unit.seed, case.model, case.start, local)
    obfuscation = obfuscations(given.encryption, given.presets)[case.obfuscation]
    trial = Trial(network, inverter, local, obfuscation, case, plan)
    found, picture = trial.run(scene, unit.seed)
    keep(folder.picture(unit), picture)
    return found


def clean(folder: LabFolder, unit: Unit) -> dict[str, float]:
    """Pass what was found of a case through the denoiser: what it is then like, means over images."""
    picture = load_picture(folder, Unit(unit.seed, unit.case))
    images = _denoiser(folder, unit.seed).images(picture.found)
    return {} if images is None else means(figures(images, picture.originals))


def train_denoiser(scene: Scene, plan: Plan, seed: int) -> Reader:
    """A network that brings attempts nearer to X-rays: it learns from what the latent makes of other patients'."""
    rng = public_rng("lab denoiser", seed)
    images = scene.others[rng.permutation(len(scene.others))[: plan.pairs]]
    noisy = ceiling(images) + _BLUR * rng.random((len(images), 1, 1, 1)) * rng.standard_normal(images.shape)
    labels = np.zeros((len(images), 1), np.float32)
    return train_reader("denoiser", Pairs(np.clip(noisy, 0, 1).astype(np.float32), images, labels), seed)


def load_picture(folder: LabFolder, unit: Unit) -> Picture:
    """The images of a case."""
    return kept_as(Picture, folder.picture(unit))


@functools.lru_cache(maxsize=1)
def _scene(folder: LabFolder, seed: int) -> Scene:
    return scene_of(load_hospitals(folder.data(seed)), public_rng("lab scene", seed))


@functools.lru_cache(maxsize=1)
def _denoiser(folder: LabFolder, seed: int) -> Reader:
    return reader_from(folder.denoiser(seed).read_bytes())


@functools.lru_cache(maxsize=3)
def _attacked(
    folder: LabFolder, plan: Plan, seed: int, model: str, start: str, local: LocalTraining
) -> tuple[Any, Inverter]:
    """The model of a round and its attacker, made once a process: tracing takes seconds."""
    scene = _scene(folder, seed)
    size = scene.others.shape[1]
    network = new_network(model, size, seed)
    if start == TRAINED:
        images = scene.victims
        trained(network, images.pixels(), images.labels[:, :1], plan.training_steps, public_rng("lab training", seed))
    return network, Inverter(network, size, local)
