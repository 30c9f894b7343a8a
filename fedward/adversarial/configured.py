"""Image encryption as the settings choose it: an attack on a classifier, which hides labels, with its options."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fedward.adversarial.attack import Attack, BoundedOptions
from fedward.adversarial.gradient_steps import Fgsm, IteratedFgsm, IteratedOptions, MomentumFgsm, MomentumOptions, Pgd
from fedward.adversarial.hop_skip_jump import HopSkipJump, HopSkipJumpOptions
from fedward.adversarial.square import Square, SquareOptions
from fedward.plugins import BorderEncryption, NoOptions, OneStepEncryption, SteppedEncryption
from fedward.settings import ImageEncryptionSettings


def _none(_: NoOptions) -> None:
    """Images are shown as they are."""
    return


def _fgsm(options: OneStepEncryption) -> Attack:
    return Fgsm(BoundedOptions(options.eps))


def _i_fgsm(options: SteppedEncryption) -> Attack:
    return IteratedFgsm(IteratedOptions(options.eps, options.iterations))


def _pgd(options: SteppedEncryption) -> Attack:
    return Pgd(IteratedOptions(options.eps, options.iterations))


def _mi_fgsm(options: SteppedEncryption) -> Attack:
    return MomentumFgsm(MomentumOptions(options.eps, options.iterations))


def _square(options: SteppedEncryption) -> Attack:
    return Square(SquareOptions(options.eps, options.iterations))


def _hop_skip_jump(options: BorderEncryption) -> Attack:
    return HopSkipJump(HopSkipJumpOptions(options.iterations))


# Each takes the options that `fedward.plugins` has under the same name.
ENCRYPTIONS: Mapping[str, Callable[[Any], Attack | None]] = MappingProxyType(
    {
        "none": _none,
        "fgsm": _fgsm,
        "i-fgsm": _i_fgsm,
        "pgd": _pgd,
        "mi-fgsm": _mi_fgsm,
        "square": _square,
        "hop-skip-jump": _hop_skip_jump,
    }
)


def configured_encryption(settings: ImageEncryptionSettings) -> Attack | None:
    """The attack that encrypts images which others see; None where they are shown as they are."""
    return ENCRYPTIONS[settings.method](settings.options[settings.method])
