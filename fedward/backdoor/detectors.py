"""Stage 9, detect: the registry of detectors, and running them on a candidate model with a hospital's own images.

A detector is a frozen dataclass around its options. `DETECTORS` has all detectors.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

from fedward.backdoor.feedback import Feedback
from fedward.backdoor.guided_patches import GuidedPatches
from fedward.backdoor.inspection import Inspection
from fedward.backdoor.own_update import OwnUpdate
from fedward.backdoor.patch_bank import PatchBank
from fedward.backdoor.trigger_inversion import TriggerInversion
from fedward.backdoor.update_norm import UpdateNorm
from fedward.backdoor.validation_loss import ValidationLoss
from fedward.settings import DetectorSettings
from fedward.types import DetectorReport


class Detector(Protocol):
    """Looks at a candidate model and says whether it should be rejected.

    The argument of its `inspect` may be any view of an inspection: see `fedward.backdoor.inspection`.
    """

    name: ClassVar[str]

    def __init__(self, options: Any) -> None:
        """Make the detector from the options that are registered under its name."""
        ...

    def inspect(self, view: Inspection, /) -> DetectorReport:
        """Judge the candidate."""
        ...


# Each is made from the options that `fedward.plugins` has under the same name.
DETECTORS: Mapping[str, type[Detector]] = MappingProxyType(
    {
        made.name: made
        for made in (ValidationLoss, UpdateNorm, OwnUpdate, PatchBank, Feedback, GuidedPatches, TriggerInversion)
    }
)


def configured_detectors(settings: DetectorSettings) -> tuple[Detector, ...]:
    """The detectors that every hospital of the consortium runs, in the order in which the settings name them."""
    return tuple(DETECTORS[name](options) for name, options in settings.chosen().items())


def detect(inspection: Inspection, detectors: Sequence[Detector]) -> tuple[DetectorReport, ...]:
    """Let every detector judge the candidate."""
    return tuple(detector.inspect(inspection) for detector in detectors)
