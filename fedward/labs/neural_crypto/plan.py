"""What the lab runs: seeds, how long each network is trained, how many images are measured, what attackers know."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from fedward.tables import Scalar

Changes = tuple[tuple[str, Scalar], ...]

MODELS = "models"  # the unit that trains all that a seed needs
PLAIN, PUBLISHED, UNTRAINED, MIXER, AES = "none", "published", "mixer-untrained", "mixer", "aes-256-gcm"
LINEAR, DENSE, CONVOLUTIONAL, WITH_A_PAIR = "linear", "dense", "convolutional", "dense, with a known pair"
EVES = (LINEAR, DENSE, CONVOLUTIONAL, WITH_A_PAIR)
CIPHERS = (PLAIN, PUBLISHED, UNTRAINED, MIXER, AES)


@dataclass(frozen=True)
class Plan:
    """How much the lab runs.

    Attributes:
        seeds: Each decides initial weights, and whose images go where.
        ciphers: Which are measured, of `CIPHERS`.
        eves: Which Eves are trained, by their names.
        trained: The most training images.
        measured: The most test images, of other patients.
        autoencoder_steps: Of training each autoencoder.
        published_steps: Of the published Alice and Bob, before and in the adversarial phase.
        mixer_steps: Of the mixer's Alice.
        eve_steps: Of each Eve that is trained from scratch.
        attack_steps: Of the network that known plaintexts train.
        triples: Numbers of known triples that the affine attack takes.
        pairs: Numbers of known pairs under one key that it takes.
        known: Numbers of pairs that attacks on any cipher take.
        chosen: Messages that a distinguisher trains on, and is asked about.
        changes: Settings of the images.
    """

    seeds: tuple[int, ...]
    ciphers: tuple[str, ...]
    eves: tuple[str, ...]
    trained: int
    measured: int
    autoencoder_steps: int
    published_steps: tuple[int, int]
    mixer_steps: int
    eve_steps: int
    attack_steps: int
    triples: tuple[int, ...]
    pairs: tuple[int, ...]
    known: tuple[int, ...]
    chosen: int
    changes: Changes


QUICK = Plan(
    seeds=(1,),
    ciphers=CIPHERS,
    eves=EVES,
    trained=800,
    measured=150,
    autoencoder_steps=500,
    published_steps=(600, 100),
    mixer_steps=250,
    eve_steps=200,
    attack_steps=150,
    triples=(128, 256, 384, 512, 513, 600, 800),
    pairs=(64, 128, 192, 256, 257, 300, 400),
    known=(100, 600),
    chosen=1_000,
    changes=(("data.image-size", 32), ("data.synthetic-images", 1_200)),
)
FULL = dataclasses.replace(
    QUICK,
    seeds=(1, 2, 3),
    trained=2_400,
    measured=400,
    autoencoder_steps=2_500,
    published_steps=(2_500, 400),
    mixer_steps=1_000,
    eve_steps=700,
    attack_steps=500,
    known=(100, 300, 1_000, 2_400),
    chosen=3_000,
)


@dataclass(frozen=True)
class Unit:
    """One piece of work, whose results are kept by themselves.

    Attributes:
        seed: See `Plan`.
        part: `MODELS`, or one of `CIPHERS`.
    """

    seed: int
    part: str

    @property
    def name(self) -> str:
        """Names the unit's file."""
        return f"{self.seed}-{self.part}"


def model_units(plan: Plan) -> Iterator[Unit]:
    """Training, once a seed."""
    return (Unit(seed, MODELS) for seed in plan.seeds)


def cipher_units(plan: Plan) -> Iterator[Unit]:
    """Every cipher on every seed."""
    return (Unit(seed, cipher) for seed in plan.seeds for cipher in plan.ciphers)


def narrowed(plan: Plan, seeds: tuple[int, ...], changes: Changes) -> Plan:
    """The plan with seeds that were asked for in place of its own, and settings added to its own."""
    return dataclasses.replace(plan, seeds=seeds or plan.seeds, changes=(*plan.changes, *changes))
