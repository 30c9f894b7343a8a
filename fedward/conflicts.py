"""Settings that do not go together, each refused with one sentence."""

from fedward.errors import UsageError


def check_adversarial_training(kind: str, model: str, privacy_mode: str) -> None:
    """Refuse training on attacked images where it cannot be done.

    Args:
        kind: `training.adversarial`.
        model: `model.name`.
        privacy_mode: `privacy.mode`.

    Raises:
        UsageError: it is wanted, and the model or the privacy mode does not go with it.
    """
    if kind == "none":
        return
    if model == "scatter":
        raise UsageError(
            "training.adversarial does not go with model scatter, whose features are computed once for each image.",
            "Choose --model cnn, or leave training.adversarial at none.",
        )
    if privacy_mode == "sample":
        raise UsageError(
            "training.adversarial does not go with privacy.mode sample: DP-SGD trains on images as they are.",
            "Choose privacy.mode update or none, or leave training.adversarial at none.",
        )
