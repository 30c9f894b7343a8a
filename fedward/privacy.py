"""Stage 3, privatize: what bounds and blurs one hospital's influence, and what that costs.

Mode `update` protects the **hospital** as a unit: its epsilon bounds how well the released update can be told from a
release without its data (the same noise around nothing). That a hospital took part is public on the ledger. To
tell one data set of a hospital from another, the clipped update can differ by twice the clip norm: for that
reading, halve the noise multiplier. With five hospitals this is a strong promise, and much noise. The accountant is
Google's dp-accounting (Renyi, Mironov 2017).
"""

import json
import math
import secrets
from pathlib import Path

import dp_accounting
import numpy as np
from dp_accounting.rdp import RdpAccountant

from fedward.errors import BudgetError, DataError
from fedward.files import append_line, parse_json, read_lines
from fedward.settings import PrivacySettings
from fedward.types import ModelUpdate, PrivacyEvent, PrivateUpdate, Vector


def expected_event(settings: PrivacySettings) -> PrivacyEvent:
    """The event that every update of a round must declare under these settings."""
    if settings.mode == "none":
        return PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
    return PrivacyEvent("update", "hospital", 1.0, settings.noise_multiplier, 1, settings.clip_norm, settings.delta)


def privatize(
    update: ModelUpdate, settings: PrivacySettings, noise_rng: np.random.Generator | None = None
) -> PrivateUpdate:
    """Clip an update's L2 norm and add Gaussian noise to every coordinate (Dwork and Roth 2014, appendix A).

    Args:
        update: What training changed.
        settings: Mode, clip norm and noise multiplier.
        noise_rng: Source of the noise; None draws a fresh one from the operating system. Only tests give one.

    Guarantees:
        1. In mode `update` the clipped update's L2 norm is at most `clip_norm`.
        2. The noise of every coordinate is Gaussian with deviation `noise_multiplier * clip_norm`, complete at
           this hospital before anything is weighted, cut or rounded.

    Limits:
        Floating-point Gaussian samplers leak low-order bits (Mironov 2012); quantization with unbiased rounding
        follows before release, but no proof is claimed for it.

    Raises:
        DataError: the update holds a value that is not a finite number.
    """
    if not np.isfinite(update.delta).all():
        raise DataError("Training produced values that are not finite numbers.", "Lower training.learning-rate.")
    event = expected_event(settings)
    if settings.mode == "none":
        return PrivateUpdate(update.delta, event)
    rng = noise_rng or np.random.Generator(np.random.Philox(secrets.randbits(128)))
    clipped = clip(update.delta, settings.clip_norm)
    noise = rng.normal(0.0, settings.noise_multiplier * settings.clip_norm, update.delta.shape)
    return PrivateUpdate((clipped + noise).astype(np.float32), event)


def clip(delta: Vector, clip_norm: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Scale a vector down to an L2 norm of at most `clip_norm`; float64, so that the bound holds after rounding."""
    wide = delta.astype(np.float64)
    norm = math.sqrt(float(wide @ wide))
    # One part in 10^12 below the bound: more than float64 rounding can add back.
    return wide * (clip_norm * (1 - 1e-12) / norm) if norm > clip_norm else wide


def epsilon(events: list[PrivacyEvent]) -> float | None:
    """The epsilon of releases composed, at the largest delta that they declare; None when none is private.

    Neighboring inputs: a hospital's clipped update, or zeros in its place.
    """
    private = [event for event in events if event.mode != "none"]
    if not private:
        return None
    accountant = RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in private:
        gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        step = (
            gaussian if event.sampling_rate == 1 else dp_accounting.PoissonSampledDpEvent(event.sampling_rate, gaussian)
        )
        accountant.compose(step, event.steps)
    return float(accountant.get_epsilon(max(event.delta for event in private)))


class PrivacyLedger:
    """A hospital's own record of what it has spent, on its disk before anything leaves.

    Args:
        path: One line of JSON a release.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def spent(self) -> list[PrivacyEvent]:
        """All releases so far.

        Raises:
            BudgetError: the record is damaged, so what was spent is unknown.
        """
        try:
            return [PrivacyEvent(**parse_json(line.encode())["event"]) for line in read_lines(self._path)]
        except (ValueError, KeyError, TypeError) as error:
            raise BudgetError(
                f"The privacy record {self._path} is damaged.", "Restore it; what it says was spent cannot be guessed."
            ) from error

    def charge(self, round_index: int, event: PrivacyEvent) -> None:
        """Record a release, flushed to the disk, before it happens; it stays spent whatever becomes of the round."""
        line = json.dumps({"round": round_index, "event": vars(event)})
        append_line(self._path, line)
