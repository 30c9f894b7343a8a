"""What every lab is asked for on the command line: images, seeds and settings."""

import dataclasses
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedward import settings as setting
from fedward.errors import UsageError
from fedward.settings import Settings
from fedward.tables import Scalar, listed, parse_assignment

HOSPITALS = 5
_FLAGS = {"assignments": "--set", "attacks": "--attack", "methods": "--method"}  # flags with another name


@dataclass(frozen=True)
class Wishes:
    """What every lab is asked for on the command line, as it was given.

    Attributes:
        data: Where images come from.
        full: Whether the plan for documents is run, or the quick one.
        seeds: A list in place of the plan's, or nothing.
        assignments: Settings, as `--set` takes them.
    """

    data: str
    full: bool
    seeds: str
    assignments: tuple[str, ...]

    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds; none where the plan's are to be taken.

        Raises:
            UsageError: they are no whole numbers.
        """
        try:
            return tuple(int(seed) for seed in listed(self.seeds))
        except ValueError as error:
            raise UsageError(f"--seeds {self.seeds} is no list of whole numbers.", "Write --seeds 1,2,3.") from error

    def changes(self) -> tuple[tuple[str, str], ...]:
        """The settings that were given, by their keys."""
        return tuple(parse_assignment(text) for text in self.assignments)

    def made(self, lab: str, out: Path) -> dict[str, str]:
        """How a lab's figures come to be, for reports: which lab, the command, whose images, of which model.

        Args:
            lab: The lab's name.
            out: Its folder.
        """
        words = ["main.py", "lab", lab, "--data", self.data, "--out", str(out), *(["--full"] if self.full else [])]
        for each in dataclasses.fields(self):
            value, flag = getattr(self, each.name), _FLAGS.get(each.name, f"--{each.name}")
            if each.name not in ("data", "full") and value:
                many = value if isinstance(value, tuple) else (value,)
                words += [word for one in many for word in (flag, str(one))]
        return {"lab": lab, "command": shlex.join(words), "data": self.data, "model_digest": ""}

    def load_settings(self, preset: Path | None, changes: Iterable[tuple[str, Scalar]], seed: int) -> Settings:
        """Settings of one seed.

        Args:
            preset: A file of settings, or None.
            changes: The plan's settings, with those that were given.
            seed: The seed.

        Raises:
            UsageError: a setting is wrong, or seals images, which labs keep in the clear.
        """
        own = (("data.source", self.data), ("training.seed", seed))
        settings = setting.load(preset, ("data.hospitals", HOSPITALS), *changes, *own)
        _check_images_may_lie_open(settings)
        return settings


def _check_images_may_lie_open(settings: Settings) -> None:
    """Refuse settings under which hospitals seal their images.

    Raises:
        UsageError: they are such.
    """
    if settings.image_encryption.at_rest:
        raise UsageError(
            "The lab keeps partitions in the clear, for it has no hospitals with keys.",
            "Leave image-encryption.method away.",
        )
