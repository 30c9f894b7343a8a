"""Whether an attack failed because a defense hides gradients, rather than because there is nothing to find.

The signs of Athalye, Carlini and Wagner 2018, "Obfuscated Gradients Give a False Sense of Security": an attacker who
knows more, takes more steps or may go further must do no worse. Where he does, the white-box figures say nothing about
the defense, and the lab says so. And the slope that attackers follow must be that of the defense itself: where it is
only put in its place, as for JPEG, all attacks can fail together, so that comparing them tells nothing.
"""

from collections.abc import Iterator
from typing import Any

from fedward.labs.robustness.plan import Plan, with_eps

# Of a small step's foretold change. On X-rays the CNN brought 0.85, one trained with privacy, which bends more, 0.67,
# and both behind JPEG with the image's own gradient in its place 0.28 and 0.11.
LEAST_KEPT = 0.4
TOLERANCE = 0.03  # of AUC: attacks draw, and follow a loss, not the AUC itself


def masking(plan: Plan, found: dict[str, Any]) -> list[str]:
    """Signs of hidden gradients in one defense's figures, each as a sentence; none where all is as it should be.

    Args:
        plan: What was run.
        found: What `run_defense` gave.
    """
    return [
        *_weaker_than_transfer(plan, found),
        *_weaker_with_more_room(plan, found),
        *_weaker_with_more_work(plan, found),
        *_slopes_that_are_not_the_defenses(plan, found),
    ]


def _weaker_than_transfer(plan: Plan, found: dict[str, Any]) -> Iterator[str]:
    """The strongest attack at each bound must do at least as well where the attacker knows the defense."""
    for eps in plan.eps:
        known, unknown = (_strongest(plan, found[column], eps) for column in ("white-box", "transfer"))
        if known is not None and unknown is not None and known > unknown + TOLERANCE:
            yield f"at {eps:g}/255 white-box attacks leave an AUC of {known:.3f}, transferred ones {unknown:.3f}"


def _weaker_with_more_room(plan: Plan, found: dict[str, Any]) -> Iterator[str]:
    """Every attack that follows steps must do at least as well when it may go further."""
    areas = [_strongest(plan, found["white-box"], eps) for eps in sorted(plan.eps)]
    for (narrow, less), (wide, more) in zip(
        zip(sorted(plan.eps), areas, strict=True), list(zip(sorted(plan.eps), areas, strict=True))[1:], strict=False
    ):
        if less is not None and more is not None and more > less + TOLERANCE:
            yield f"at {wide:g}/255 attacks leave an AUC of {more:.3f}, at {narrow:g}/255 {less:.3f}"


def _weaker_with_more_work(plan: Plan, found: dict[str, Any]) -> Iterator[str]:
    """Several steps must do at least as well as one, and at least as well as trying squares without gradients."""
    names = {attack.partition(":")[0]: attack for attack in plan.attacks}
    best = names.get("auto") or names.get("pgd")
    for other in ("fgsm", "square"):
        if best is None or other not in names:
            continue
        for eps in plan.eps:
            strong, weak = (found["white-box"][with_eps(attack, eps)]["auc"] for attack in (best, names[other]))
            if strong is not None and weak is not None and strong > weak + TOLERANCE:
                yield f"at {eps:g}/255 {best} leaves an AUC of {strong:.3f}, {other} alone {weak:.3f}"


def _slopes_that_are_not_the_defenses(plan: Plan, found: dict[str, Any]) -> Iterator[str]:
    """A small step along the slope must bring a good part of what the slope foretells."""
    kept = found["kept_of_slope"]
    if kept is None:
        yield "attackers find no slope to follow"
    elif kept < LEAST_KEPT:
        yield f"a step of {plan.step:g}/255 along the slope brings {kept:.2f} of what it foretells"


def _strongest(plan: Plan, column: dict[str, Any], eps: float) -> float | None:
    """The lowest AUC that any attack leaves at a bound."""
    areas = [column[with_eps(attack, eps)]["auc"] for attack in plan.attacks]
    return min((area for area in areas if area is not None), default=None)
