"""The tables of `main.py lab image-encryption`."""

from typing import Any

from commands.lab.sheets import Sheet
from fedward.labs.image_encryption.models import ELSEWHERE, FEDERATION


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What each method hides, what readers give back, and what others read."""
    return _methods(summary), _readers(summary), _others(summary)


def _methods(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["method"],
            str(each["seeds"]),
            _number(each["psnr"]),
            _number(each["psnr_in_eight_bits"]),
            _share(each["ssim"]),
            _share(each["hidden"]),
            _share(each["hidden_in_eight_bits"]),
            _number(each["restored_psnr"]),
            _share(each["restored_ssim"]),
            _share(each["clean_accuracy"]),
            _share(each["recovered"]),
            _share(each["recovered_hidden"]),
            _number(each["images_a_second"]),
        )
        for each in summary["methods"]
    )
    headings = (
        "method",
        "seeds",
        "PSNR",
        "in 8 bits",
        "SSIM",
        "hidden",
        "in 8 bits",
        "restored PSNR",
        "SSIM",
        "clean accuracy",
        "recovered",
        "of hidden ones",
        "images a second",
    )
    return Sheet("Encrypted and read again, mean over seeds", headings, rows)


def _readers(summary: dict[str, Any]) -> Sheet:
    method = summary["methods"][0]["method"] if summary["methods"] else ""
    figures = ("psnr", "ssim", "accuracy", "f1", "auc")
    rows = tuple(
        (
            each["reader"],
            *(
                (_number if figure == "psnr" else _share)(each[f"{of}_{figure}"])
                for of in ("all", "hidden")
                for figure in figures
            ),
        )
        for each in summary["readers"]
    )
    names = ("PSNR", "SSIM", "accuracy", "F1", "AUC")
    headings = ("reader", *names, *(f"{name}, hidden ones" for name in names))
    before = summary["readers"][0] if summary["readers"] else {}
    known = f"; encrypted {_number(before.get('encrypted_psnr'))} dB, {_share(before.get('encrypted_ssim'))}"
    return Sheet(f"Readers of {method}{known}", headings, rows)


def _others(summary: dict[str, Any]) -> Sheet:
    """An attacker by what he knows, and other classifiers by how many of their right decisions turn."""
    methods = summary["methods"]
    known = list(dict.fromkeys(name for each in methods for name in each["attackers"]))
    models = list(dict.fromkeys(name for each in methods for name in each["misled"]))
    rows = tuple(
        (
            each["method"],
            *(_share(each["attackers"].get(name)) for name in known),
            *(_share(each["misled"].get(name)) for name in models),
        )
        for each in methods
    )
    names = {FEDERATION: "the federation's", ELSEWHERE: "the same, trained elsewhere"}
    headings = (
        "method",
        *(f"attacker, {name} pairs" for name in known),
        *(f"misled: {names.get(name, name)}" for name in models),
    )
    return Sheet("An attacker's accuracy, and the share of right decisions that turn", headings, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
