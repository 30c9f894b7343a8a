"""Registries of what settings choose by name (models, privacy modes, server optimizers, detectors, ...), with options.

A registry has the names of one kind, and for each name the dataclass of its options. The checks of settings read this
without importing the code behind a name: a server checks settings and holds no model, and a wrong name is reported
before TensorFlow is loaded. That code is registered under the same names in its own module (docs/adr/0022): `BUILDERS`
in `fedward.learning.model`, `MODES` in `fedward.privacy.mechanism` and `LOCAL_UPDATES` in `fedward.local_update`,
`OPTIMIZERS` in `fedward.learning.server_step`, `DETECTORS` in `fedward.backdoor.detectors`, `ENCRYPTIONS`
in `fedward.adversarial.configured`.
`tests/unit/test_plugins.py` checks that both have the same names, and runs over all plug-ins.

The defaults of options stand in pyproject.toml: those of the plug-in NAME in a table `KIND.NAME`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from fedward.tables import Between


@dataclass(frozen=True)
class NoOptions:
    """Options of a plug-in that has none."""


@dataclass(frozen=True)
class MomentumOptions:
    """Options of a server optimizer with momentum.

    Attributes:
        learning_rate: What the step is multiplied by.
        momentum: What the sum of past mean updates is multiplied by each round.
    """

    learning_rate: Annotated[float, Between(0, 10, above=True)]
    momentum: Annotated[float, Between(0, 0.999)]


@dataclass(frozen=True)
class AdaptiveOptions:
    """Options of a server optimizer that divides by the root of past squares.

    Attributes:
        learning_rate: What the step is multiplied by.
        momentum: What the mean of past updates is multiplied by each round.
        decay: A round's new squares enter the remembered squares with the factor 1 - decay.
        floor: Added to the root of the squares.
    """

    learning_rate: Annotated[float, Between(0, 10, above=True)]
    momentum: Annotated[float, Between(0, 0.999)]
    decay: Annotated[float, Between(0, 0.99999)]
    floor: Annotated[float, Between(1e-6, 1)]


@dataclass(frozen=True)
class ValidationLossOptions:
    """Options of the detector `validation-loss`.

    Attributes:
        tolerance: Rise of the mean loss (nats) that is never called worse.
        z_score: Standard errors above the tolerance at which a rise is clear.
    """

    tolerance: Annotated[float, Between(0, 100)]
    z_score: Annotated[float, Between(0, 100)]


@dataclass(frozen=True)
class UpdateNormOptions:
    """Options of the detector `update-norm`.

    Attributes:
        ratio: How many times what is usual the norm of the mean update may be, over that of the hospital's own.
    """

    ratio: Annotated[float, Between(0, 1_000, above=True)]


@dataclass(frozen=True)
class OwnUpdateOptions:
    """Options of the detector `own-update`.

    Attributes:
        least: Share of the usual that the hospital's own update has to reach along the mean update.
    """

    least: Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class PatchBankOptions:
    """Options of the detector `patch-bank`.

    Attributes:
        patches: How many patches are tried.
        images: On how many images of each class.
        change: Change of a patch's answer from round to round that is never called unusual.
        ratio: How many times the largest change of the last accepted rounds a change may be.
        drift: Change of an answer since ten rounds ago that is never too much.
        spread: How many times the change since then that all but a fifth of the answers stay below it may be.
        flips: Share of decisions that a patch may turn beyond those that it turned before.
    """

    patches: Annotated[int, Between(1, 1_024)]
    images: Annotated[int, Between(6, 256)]
    change: Annotated[float, Between(0, 100, above=True)]
    ratio: Annotated[float, Between(0, 1_000, above=True)]
    drift: Annotated[float, Between(0, 100, above=True)]
    spread: Annotated[float, Between(0, 100)]
    flips: Annotated[float, Between(0, 1, above=True)]


@dataclass(frozen=True)
class FeedbackOptions:
    """Options of the detector `feedback`.

    Attributes:
        window: How many changes of accepted rounds a candidate's is compared with.
        margin: How many times the usual outlier factor a candidate's may be; 1 as published.
    """

    window: Annotated[int, Between(10, 20)]
    margin: Annotated[float, Between(0, 1_000, above=True)]


@dataclass(frozen=True)
class GuidedPatchesOptions:
    """Options of the detector `guided-patches`.

    Attributes:
        places: How many patches are laid for each finding and direction.
        images: On how many images of each class.
        change: Change of a patch's answer that is never called unusual.
        ratio: How many times the largest change of the last accepted rounds a change may be.
    """

    places: Annotated[int, Between(1, 64)]
    images: Annotated[int, Between(6, 256)]
    change: Annotated[float, Between(0, 100, above=True)]
    ratio: Annotated[float, Between(0, 1_000, above=True)]


@dataclass(frozen=True)
class TriggerInversionOptions:
    """Options of the detector `trigger-inversion`.

    Attributes:
        images: On how many images of each class a pattern is searched.
        steps: Of the search.
        ratio: Share of the usual size below which a pattern is too small.
    """

    images: Annotated[int, Between(6, 256)]
    steps: Annotated[int, Between(10, 10_000)]
    ratio: Annotated[float, Between(0, 1, above=True)]


@dataclass(frozen=True)
class OneStepEncryption:
    """Options of the image encryption `fgsm`.

    Attributes:
        eps: The most that a pixel changes by, where images go from 0 to 1.
    """

    eps: Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class SteppedEncryption:
    """Options of image encryptions that come to their bound in several steps.

    Attributes:
        eps: The most that a pixel changes by, where images go from 0 to 1.
        iterations: How many steps.
    """

    eps: Annotated[float, Between(0, 1)]
    iterations: Annotated[int, Between(1, 10_000)]


@dataclass(frozen=True)
class BorderEncryption:
    """Options of the image encryption `hop-skip-jump`, which has no bound.

    Attributes:
        iterations: How often the direction of the border between decisions is estimated.
    """

    iterations: Annotated[int, Between(1, 1_000)]


@dataclass(frozen=True)
class Plugin:
    """Something that can be chosen by its name.

    Attributes:
        about: What it is, in one phrase.
        options: The dataclass of its options, each annotated with its rules.
    """

    about: str
    options: type = NoOptions


Registry = Mapping[str, Plugin]
ServerOptimizerOptions = NoOptions | MomentumOptions | AdaptiveOptions
ImageEncryptionOptions = NoOptions | OneStepEncryption | SteppedEncryption | BorderEncryption
DetectorOptions = (
    ValidationLossOptions
    | UpdateNormOptions
    | OwnUpdateOptions
    | PatchBankOptions
    | FeedbackOptions
    | GuidedPatchesOptions
    | TriggerInversionOptions
)

MODELS: Registry = MappingProxyType(
    {
        "cnn": Plugin("four blocks of convolution and group norm, trained from random weights"),
        "densenet121": Plugin("DenseNet121 with group norm, from random or pretrained weights"),
        "scatter": Plugin("fixed wavelet scattering features and one trained linear layer"),
    }
)
PRIVACY_MODES: Registry = MappingProxyType(
    {
        "none": Plugin("no noise: the model may remember patients"),
        "update": Plugin("noise on each update; the unit is the hospital"),
        "sample": Plugin("DP-SGD, noise on each training step; the unit is privacy.unit"),
    }
)
SERVER_OPTIMIZERS: Registry = MappingProxyType(
    {
        "none": Plugin("adds the mean update to the model"),
        "momentum": Plugin("adds a decaying sum of mean updates", MomentumOptions),
        "adam": Plugin("divides by the root of a decaying mean of squares", AdaptiveOptions),
        "yogi": Plugin("as adam, with squares that grow and shrink more slowly", AdaptiveOptions),
    }
)
DETECTORS: Registry = MappingProxyType(
    {
        "validation-loss": Plugin("rejects what is clearly worse on own validation images", ValidationLossOptions),
        "update-norm": Plugin("rejects mean updates that are too long beside the hospital's own", UpdateNormOptions),
        "own-update": Plugin("rejects mean updates that have too little of the hospital's own", OwnUpdateOptions),
        "patch-bank": Plugin("rejects models whose scores answer to small patches otherwise", PatchBankOptions),
        "feedback": Plugin("rejects changes of errors unlike those of accepted rounds (BaFFLe)", FeedbackOptions),
        "guided-patches": Plugin("as patch-bank, where the model's gradient points", GuidedPatchesOptions),
        "trigger-inversion": Plugin(
            "rejects models that a small pattern turns (Neural Cleanse)", TriggerInversionOptions
        ),
    }
)
IMAGE_ENCRYPTIONS: Registry = MappingProxyType(
    {
        "none": Plugin("images lie on the hospital's disk as they are"),
        "fgsm": Plugin("one step along the gradient's sign", OneStepEncryption),
        "i-fgsm": Plugin("several short steps along the gradient's sign", SteppedEncryption),
        "pgd": Plugin("as i-fgsm, from a random start", SteppedEncryption),
        "mi-fgsm": Plugin("as i-fgsm, with momentum", SteppedEncryption),
        "square": Plugin("random squares, kept where they help", SteppedEncryption),
        "hop-skip-jump": Plugin("along the border between decisions, by decisions alone", BorderEncryption),
    }
)

# By the setting that chooses by name. The setting's table is the kind; `KIND.NAME` is the table of a plug-in's options.
KINDS: Mapping[str, Registry] = MappingProxyType(
    {
        "model.name": MODELS,
        "privacy.mode": PRIVACY_MODES,
        "server-optimizer.name": SERVER_OPTIMIZERS,
        "detectors.names": DETECTORS,
        "image-encryption.method": IMAGE_ENCRYPTIONS,
    }
)
