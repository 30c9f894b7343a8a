"""Which of two class names is the finding: by what the words mean, never by their order."""

import re
from collections.abc import Sequence

from fedward.dataset.kinds import plain
from fedward.errors import UsageError

_NOTHING = frozenset({
    "normal", "normals", "healthy", "health", "negative", "neg", "0", "no", "none", "nothing", "clear", "clean",
    "control", "controls", "ctrl", "ctl", "hc", "benign", "false", "absent", "absence", "unremarkable", "uninfected",
    "unaffected", "well", "non", "not", "without", "nofinding", "nofindings", "nonfinding", "noncovid", "nontb", "ok",
    "undiseased", "nondiseased", "asymptomatic", "notumor", "nopneumonia", "nonpneumonia", "disease-free", "good",
    "gesund", "sano", "sain", "sana", "sin", "kein", "keine", "ohne", "noncancer", "nodisease", "nomask", "reference",
})  # fmt: skip
_SOMETHING = frozenset({
    "positive", "pos", "yes", "true", "present", "presence", "abnormal", "abnormality", "pathological",
    "pathology", "pathologic", "sick", "ill", "illness", "disease", "diseased", "infected", "infection", "affected",
    "finding", "findings", "case", "cases", "patient", "patients", "pneumonia", "covid", "covid19", "sars", "sarscov2",
    "ncov", "tb", "tuberculosis", "cancer", "tumor", "tumour", "malignant", "malignancy", "nodule", "nodules", "mass",
    "lesion", "lesions", "opacity", "opacities", "effusion", "effusions", "edema", "oedema", "atelectasis",
    "cardiomegaly", "consolidation", "emphysema", "fibrosis", "hernia", "infiltration", "infiltrate", "infiltrates",
    "pneumothorax", "pleural", "thickening", "fracture", "fractures", "silicosis", "bronchitis", "copd", "carcinoma",
    "viral", "virus", "bacterial", "bacteria", "sepsis", "ards", "krank", "enfermo", "malade", "unhealthy", "bad",
    "symptomatic", "suspicious", "critical", "severe", "mild", "moderate",
})  # fmt: skip
_DENIALS = ("no", "non", "not", "without", "un", "kein", "ohne", "sin")


def negative_class(names: Sequence[str]) -> str:
    """The one name among classes that says "nothing found", "" where none or several do."""
    found = [name for name in names if _says_nothing(name, names)]
    return found[0] if len(found) == 1 else ""


def positive_of_two(first: str, second: str) -> str:
    """Which of two classes is the finding, "" where their names do not say."""
    pair = (first, second)
    nothing = [_says_nothing(name, pair) for name in pair]
    if nothing[0] != nothing[1]:
        return second if nothing[0] else first
    something = [_says_something(name) for name in pair]
    if something[0] != something[1] and not any(nothing):
        return first if something[0] else second
    return ""


def asked_finding(finding: str | None, positive: str | None) -> str | None:
    """What --finding and --positive ask for together: --positive names the class that counts as found.

    Raises:
        UsageError: both are given, or --positive is no name.
    """
    if positive is None:
        return finding
    if finding is not None:
        raise UsageError("--finding and --positive were both given.", "Give one: --positive NAME is --finding NAME.")
    if not positive.strip() or positive in ("auto", "any", "all"):
        raise UsageError(f"--positive {positive!r} is not the name of a class.", "Give a class's name, or --finding.")
    return positive


def _says_nothing(name: str, names: Sequence[str]) -> bool:
    """Whether a name denies: alone, in its first word, or by denying another class's name."""
    words = _words(name)
    if plain(name) in _NOTHING or (words[:1] and words[0] in _NOTHING):
        return True
    if name.strip() == "-1":
        return True
    others = {plain(other) for other in names if other != name}
    if any(plain(name) == plain(denial) + other for denial in _DENIALS for other in others if other):
        return True
    return bool(words) and words[-1] in ("negative", "neg", "normal", "free", "absent") and "abnormal" not in words


def _says_something(name: str) -> bool:
    return plain(name) in _SOMETHING or any(word in _SOMETHING for word in _words(name))


def _words(name: str) -> list[str]:
    """`NonCOVID_19` -> non, covid, 19: at capitals, digits and signs."""
    parted = re.sub(r"([a-z])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name)
    return [word for word in re.split(r"[^0-9a-zäöüáéíóñ]+", parted.casefold()) if word]
