"""Settings that do not go together, each refused with one sentence."""

from fedward.errors import UsageError


def check_adversarial_training(kind: str, model: str) -> None:
    """Refuse training on attacked images where it cannot be done.

    Args:
        kind: `training.adversarial`.
        model: `model.name`.

    Raises:
        UsageError: it is wanted, and the model does not go with it.
    """
    if kind != "none" and model == "scatter":
        raise UsageError(
            "training.adversarial does not go with model scatter, whose features are computed once for each image.",
            "Choose --model cnn, or leave training.adversarial at none.",
        )
