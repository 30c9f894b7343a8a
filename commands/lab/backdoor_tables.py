"""The tables of `main.py lab backdoor`."""

from typing import Any

from commands.lab.sheets import Sheet
from fedward.labs.backdoor.trial import ALL


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What came of each attack, who was suspended, which detector finds what, and false alarms."""
    return _outcomes(summary), _suspensions(summary), _detection(summary), _false_alarms(summary)


def _outcomes(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["attack"],
            str(each["with"]["runs"]),
            *(_share(each[kind][figure]) for kind in ("without", "with") for figure in ("success", "accuracy")),
            _share(each["with"]["success_worst"]),
            _rate(each["detection"].get(ALL)),
        )
        for each in summary["attacks"]
    )
    headings = (
        "attack",
        "seeds",
        "success",
        "accuracy",
        "success, detectors on",
        "accuracy, detectors on",
        "worst",
        "detected",
    )
    rounds, defended = summary["attack_rounds"], summary["defended_rounds"]
    return Sheet(f"After {rounds} rounds under attack, {defended} with detectors; mean over seeds", headings, rows)


def _suspensions(summary: dict[str, Any]) -> Sheet:
    rows = []
    for each in summary["attacks"]:
        named, clean = each["named"], each["without_attacker"]
        after = "-" if named["rounds"] is None else f"{named['rounds']:.1f}"
        told = (f"{named[kind]} of {named['runs']}" for kind in ("suspended", "within_ten"))
        rows.append((each["attack"], *told, after, str(named["honest"]), f"{clean['rejected']} of {clean['rounds']}"))
    headings = (
        "attack",
        "attacker suspended",
        "within ten rounds",
        "after rounds",
        "others suspended",
        "rejected without the attacker",
    )
    return Sheet("Runs in which whoever ruins rounds is suspended", headings, tuple(rows))


def _detection(summary: dict[str, Any]) -> Sheet:
    names = next((list(each["detection"]) for each in summary["attacks"] if each["detection"]), [])
    rows = tuple(
        (each["attack"], *(_counted(each["detection"].get(name)) for name in names)) for each in summary["attacks"]
    )
    return Sheet("Rounds rejected by each detector alone", ("attack", *names), rows)


def _false_alarms(summary: dict[str, Any]) -> Sheet:
    names = next((list(each["false_alarms"]) for each in summary["clean"] if each["false_alarms"]), [])
    rows = tuple(
        (
            each["condition"],
            *(_counted(each["false_alarms"].get(name)) for name in names),
            _rate(each["false_alarms"].get(ALL)),
            _share(each["accuracy"]),
        )
        for each in summary["clean"]
    )
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in summary["seconds_a_check"].items())
    headings = ("clean rounds", *names, "false alarms", "accuracy")
    return Sheet(f"Clean rounds rejected; a check takes {seconds}", headings, rows)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _counted(found: dict[str, Any] | None) -> str:
    return f"{found['rejected']} of {found['rounds']}" if found else "-"


def _rate(found: dict[str, Any] | None) -> str:
    if not found:
        return "-"
    low, high = found["interval"]
    return f"{found['rate']:.2f} ({low:.2f} to {high:.2f})"
