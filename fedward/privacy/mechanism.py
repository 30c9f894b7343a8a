"""Stage 3, privatize: clip an update and add Gaussian noise, as the privacy mode asks; the modes and their events.

Mode `sample` protects a **patient** (or a single image) of a hospital: training itself adds the noise, see
`fedward.privacy.private_training`, and this stage only lets updates pass that were trained that way.

Mode `update` protects the **hospital** as a unit: its epsilon bounds how well the released update can be told from a
release without its data (the same noise around nothing). That a hospital took part is public on the ledger. To
tell one data set of a hospital from another, the clipped update can differ by twice the clip norm: for that
reading, halve the noise multiplier. With five hospitals this is a strong promise, and much noise.

What a release costs is counted in `fedward.privacy.accounting`.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from fedward.errors import DataError, VerificationError
from fedward.privacy.secret_noise import RandomBytes, noised, room_for_rounding
from fedward.settings import PrivacySettings
from fedward.types import ModelUpdate, PrivacyEvent, PrivateUpdate, SampledUpdate, Vector


@dataclass(frozen=True)
class PrivacyMode:
    """What a privacy mode does to an update.

    Attributes:
        event: What every update of a round must declare.
        in_training: Whether training adds the noise itself, and tells its event in a `SampledUpdate`.
        release: Makes of an update's values those that leave the privacy stage, with random bytes from a source.
    """

    event: Callable[[PrivacySettings], PrivacyEvent]
    in_training: bool
    release: Callable[[Vector, PrivacySettings, RandomBytes], Vector]


def expected_event(settings: PrivacySettings) -> PrivacyEvent:
    """The event that every update of a round must declare under these settings."""
    return MODES[settings.mode].event(settings)


def privatize(
    update: ModelUpdate | SampledUpdate, settings: PrivacySettings, source: RandomBytes = os.urandom
) -> PrivateUpdate:
    """Clip an update's L2 norm and add Gaussian noise to every coordinate (Dwork and Roth 2014, appendix A).

    Args:
        update: What training changed. In mode `sample` it is noisy already and passes as it is.
        settings: Mode, clip norm and noise multiplier.
        source: Where the noise's random bytes come from: the operating system. Only tests give another.

    Guarantees:
        1. In mode `update` the clipped update's L2 norm is at most `clip_norm`.
        2. The noise of every coordinate is Gaussian with deviation `noise_multiplier * clip_norm`, complete at
           this hospital before anything is weighted, cut or rounded; what rounding of doubles could tell is dealt
           with in `fedward.privacy.secret_noise`.
        3. In mode `sample` nothing passes that was not trained under the very event that the settings call for.
        4. In mode `update` an update with a value that is not a finite number is noised as if it were zeros: an error
           would be one bit about the images, without noise.

    Raises:
        DataError: in another mode, the update holds a value that is not a finite number. In mode `sample` that
            follows from noisy sums alone, which the caller has charged.
        VerificationError: the update was trained under another mode or event than the settings call for.
    """
    event, mode = expected_event(settings), MODES[settings.mode]
    trained_under = update.event if isinstance(update, SampledUpdate) else None
    if trained_under != (event if mode.in_training else None):
        raise VerificationError(
            f"The update was trained under {trained_under}, the settings call for {event}.", "Do not send it."
        )
    return PrivateUpdate(mode.release(update.delta, settings, source), event)


def clip(delta: Vector, clip_norm: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Scale a vector down to an L2 norm of at most `clip_norm`; float64, so that the bound holds after rounding."""
    wide = delta.astype(np.float64)
    norm = math.sqrt(float(wide @ wide))
    # One part in 10^12 below the bound: more than float64 rounding can add back.
    return wide * (clip_norm * (1 - 1e-12) / norm) if norm > clip_norm else wide


def _event_of_none(settings: PrivacySettings) -> PrivacyEvent:  # noqa: ARG001 - there is nothing to set
    return PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)


def _event_of_update(settings: PrivacySettings) -> PrivacyEvent:
    return PrivacyEvent("update", "hospital", 1.0, settings.noise_multiplier, 1, settings.clip_norm, settings.delta)


def _event_of_sample(settings: PrivacySettings) -> PrivacyEvent:
    noise, rate = settings.noise_multiplier, settings.sampling_rate
    return PrivacyEvent("sample", settings.unit, rate, noise, settings.steps, settings.clip_norm, settings.delta)


def _finite(delta: Vector, rate: str) -> Vector:
    """The values as they are; raises DataError where one is not finite."""
    if not np.isfinite(delta).all():
        raise DataError("Training produced values that are not finite numbers.", f"Lower {rate}.")
    return delta


def _with_noise(delta: Vector, settings: PrivacySettings, source: RandomBytes) -> Vector:
    """Clip the values and add noise; where one of them is not finite, noise alone."""
    whole = delta if np.isfinite(delta).all() else np.zeros_like(delta)
    room = room_for_rounding(settings.clip_norm, settings.noise_multiplier, whole.size)
    noisy = noised(clip(whole, room), settings.clip_norm, settings.noise_multiplier, source)
    return noisy.astype(np.float32)


# By the names that `fedward.plugins` has. How each one trains is `fedward.local_update.LOCAL_UPDATES`.
MODES: Mapping[str, PrivacyMode] = MappingProxyType(
    {
        "none": PrivacyMode(_event_of_none, False, lambda delta, *_: _finite(delta, "training.learning-rate")),
        "update": PrivacyMode(_event_of_update, False, _with_noise),
        "sample": PrivacyMode(_event_of_sample, True, lambda delta, *_: _finite(delta, "privacy.learning-rate")),
    }
)
