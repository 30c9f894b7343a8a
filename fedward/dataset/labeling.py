"""Which findings the model learns, and what each image's label is."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.naming import positive_of_two
from fedward.dataset.nih import FINDINGS as NIH_FINDINGS
from fedward.dataset.records import Entry, Listing
from fedward.dataset.walking import describe_left_out
from fedward.errors import DataError

ANY = "any"
NO_FINDING = "No Finding"
_RULES = ("auto", ANY, "all")


@dataclass(frozen=True)
class Choice:
    """What the labels' columns mean.

    Attributes:
        findings: Name of each column.
        class_names: Two names, without and with the finding; or the findings, where there are several.
        positive: For each column, the source's classes that make its label 1.
    """

    findings: tuple[str, ...]
    class_names: tuple[str, ...]
    positive: tuple[frozenset[str], ...]


def choose_findings(listing: Listing, finding: str, expected: tuple[str, ...] | None = None) -> Choice:
    """Turn `finding` (auto, any, all or a name) into label columns for this source.

    Two classes give one column: the one whose name says that something was found (see `fedward.dataset.naming`).
    Three or more classes give one column each (`auto`, `all`), one for a NAME, or one for `any` class against the
    normal one. Sources with several findings an image (NIH) give one column for `any` finding (also `auto`), one
    for a NAME, or one for each finding (`all`).

    Args:
        listing: The source.
        finding: The setting data.finding.
        expected: Findings that a trained model outputs: the columns are then these, in their order.

    Raises:
        DataError: one class only, an unknown name, a source that lacks the expected findings, or two classes of
            which the names do not say which is the finding.
    """
    if listing.exclusive and len(listing.classes) < 2:
        only = f"only the class {listing.classes[0]!r}" if listing.classes else "no class at all"
        raise DataError(
            f"The images show {only}, and a classifier needs two.{describe_left_out(listing.left_out)}",
            "Point --data at the folder that holds both classes.",
        )
    if expected:
        return _expected(listing, finding, expected)
    if finding == "all" or (finding == "auto" and listing.exclusive):
        if listing.exclusive and len(listing.classes) == 2:
            return _one(listing, _positive_of_two(listing))
        return _several(listing, listing.classes)
    if finding in ("auto", ANY):
        return _one(listing, _positive_of_two(listing)) if _is_two(listing) else _any(listing)
    return _one(listing, _known(listing, finding))


def label_images(entries: Sequence[Entry], choice: Choice, uncertain: float = 0.0) -> NDArray[np.float32]:
    """Labels: float32, shape (n, findings), each 0 or 1; `uncertain` where the source is not sure."""
    labels = np.zeros((len(entries), len(choice.findings)), dtype=np.float32)
    for row, entry in enumerate(entries):
        for column, positive in enumerate(choice.positive):
            if not positive.isdisjoint(entry.classes):
                labels[row, column] = 1.0
            elif not positive.isdisjoint(entry.uncertain):
                labels[row, column] = uncertain
    return labels


def are_uncertain(entries: Sequence[Entry], choice: Choice) -> NDArray[np.bool_]:
    """Of which images the source is not sure whether they show a finding; bool, shape (n,)."""
    labels = label_images(entries, choice, float("nan"))
    return np.asarray(np.isnan(labels).any(axis=1), dtype=np.bool_)


def contradict(labels: NDArray[np.float32], digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images are in the source again under other labels; bool, shape (n,)."""
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(digests):
        rows.setdefault(digest.tobytes(), []).append(row)
    found = np.zeros(len(labels), dtype=np.bool_)
    for same in rows.values():
        if len(same) > 1 and (labels[same] != labels[same[0]]).any():
            found[same] = True
    return found


def require_two_classes(labels: NDArray[np.float32], choice: Choice) -> None:
    """Refuse labels from which nothing can be learned.

    Raises:
        DataError: every finding is either in all images or in none.
    """
    shares = labels.mean(axis=0)
    if not ((shares > 0) & (shares < 1)).any():
        present = "all" if shares[0] == 1 else "none"
        raise DataError(
            f"Of the readable images {present} show {choice.findings[0]!r}: that is one class only.",
            "Choose another --finding, or data with both classes.",
        )


def _is_two(listing: Listing) -> bool:
    return listing.exclusive and len(listing.classes) == 2


def _positive_of_two(listing: Listing) -> str:
    """The class that counts as the finding."""
    first, second = listing.classes
    found = positive_of_two(first, second)
    if not found:
        raise DataError(
            f"Which of the classes {first!r} and {second!r} is the finding? Their names do not say.",
            f"Give --positive {first!r} or --positive {second!r}.",
        )
    return found


def _one(listing: Listing, name: str) -> Choice:
    """One column for one class against all others."""
    others = [other for other in listing.classes if other != name]
    negative = others[0] if _is_two(listing) else f"not {name}"
    return Choice((name,), (negative, name), (frozenset({name}),))


def _several(listing: Listing, names: tuple[str, ...]) -> Choice:
    """One column a class; a single one is told apart from its absence."""
    if len(names) == 1:
        return _one(listing, names[0])
    return Choice(names, names, tuple(frozenset({name}) for name in names))


def _any(listing: Listing) -> Choice:
    """One column for any finding against none."""
    if listing.exclusive and not listing.negative:
        raise DataError(
            f"None of the classes {_join(listing.classes)} is named as normal, so 'any finding' has no meaning.",
            "Give --positive one of these names, or --finding all.",
        )
    found = frozenset(name for name in listing.classes if name != listing.negative) - listing.no_findings
    return Choice((ANY,), (listing.negative or NO_FINDING, ANY), (found,))


def _expected(listing: Listing, finding: str, expected: tuple[str, ...]) -> Choice:
    """Columns for a model that is trained already."""
    known = _names(listing)
    if len(expected) > 1:
        if finding not in ("auto", "all"):
            raise DataError(
                f"The model gives {len(expected)} findings, and {finding!r} is one name.",
                "Leave out --finding and --positive: the data must name each finding as the model does.",
            )
        found = [_match(name, known) for name in expected]
        missing = [name for name, match in zip(expected, found, strict=True) if match is None]
        if missing:
            raise DataError(
                f"The model gives {len(expected)} findings, of which the data lacks {_join(missing)}.",
                "Use data with the findings that the model was trained for.",
            )
        return Choice(expected, expected, tuple(frozenset({name}) for name in found if name))
    # What was asked for goes before what the model calls it.
    asked = (_match(finding, known) or _known(listing, finding)) if finding not in _RULES else None
    own = asked or (_match(expected[0], known) if finding != ANY else None)
    if own is None and _is_two(listing):
        own = _positive_of_two(listing)
    if own is not None:
        choice = _one(listing, own)
    elif expected[0] == ANY or finding == ANY:
        choice = _any(listing)
    else:
        raise DataError(
            f"The model was trained for {expected[0]!r}, which the data does not name; it knows {_join(known)}.",
            "Say with --finding which of these to compare it with.",
        )
    return Choice(expected, choice.class_names, choice.positive)


def _names(listing: Listing) -> tuple[str, ...]:
    """All names that may be asked for: NIH data may lack images of a finding that NIH knows."""
    extra = NIH_FINDINGS if listing.layout == "NIH" else ()
    return tuple(sorted({*listing.classes, *extra}))


def _known(listing: Listing, name: str) -> str:
    """The source's own spelling of a name.

    Raises:
        DataError: it has no such class or finding.
    """
    found = _match(name, listing.classes)
    if found is None:
        closest = difflib.get_close_matches(name, listing.classes, n=1, cutoff=0.0)
        hint = f"Did you mean {closest[0]!r}?" if closest else "Use --finding any."
        raise DataError(f"The data has no finding {name!r}; it has {_join(listing.classes)}.", hint)
    return found


def _match(name: str, known: Sequence[str]) -> str | None:
    """The known name that is equal but for case, spaces, hyphens and underscores."""
    return next((other for other in known if _plain(other) == _plain(name)), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _join(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
