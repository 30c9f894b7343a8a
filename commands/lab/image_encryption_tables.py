"""The tables of `main.py lab image-encryption`."""

from typing import Any

from commands.lab.sheets import Sheet
from fedward.labs.image_encryption.models import ELSEWHERE, FEDERATION


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What each method hides, what the authorized reader gives back, all readers, attackers, other classifiers."""
    return _encrypted(summary), _read_again(summary), _readers(summary), _attackers(summary), _misled(summary)


def _encrypted(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["method"],
            str(each["seeds"]),
            _number(each["psnr"]),
            _number(each["psnr_in_eight_bits"]),
            _share(each["ssim"]),
            _share(each["hidden"]),
            _share(each["hidden_in_eight_bits"]),
            _number(each["images_a_second"]),
        )
        for each in summary["methods"]
    )
    headings = ("method", "seeds", "PSNR", "8 bits", "SSIM", "hidden", "8 bits", "images/s")
    return Sheet("Encrypted images, mean over seeds", headings, rows)


def _read_again(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["method"],
            _number(each["psnr"]),
            _number(each["restored_psnr"]),
            _share(each["ssim"]),
            _share(each["restored_ssim"]),
            _share(each["clean_accuracy"]),
            _share(each["recovered"]),
            _share(each["recovered_hidden"]),
        )
        for each in summary["methods"]
    )
    headings = ("method", "PSNR", "restored", "SSIM", "restored", "clean accuracy", "recovered", "of hidden ones")
    return Sheet("What the authorized reader gives back", headings, rows)


def _readers(summary: dict[str, Any]) -> Sheet:
    method = summary["methods"][0]["method"] if summary["methods"] else ""
    wanted = ("all_psnr_db", "all_ssim", "all_accuracy", "all_f1", "all_auc", "hidden_accuracy", "hidden_f1")
    rows = tuple(
        (each["reader"], *(_number(each[name]) if "psnr" in name else _share(each[name]) for name in wanted))
        for each in summary["readers"]
    )
    headings = ("reader", "PSNR", "SSIM", "accuracy", "F1", "AUC", "of hidden ones", "F1")
    before = summary["readers"][0] if summary["readers"] else {}
    known = f"encrypted images: {_number(before.get('encrypted_psnr'))} dB, {_share(before.get('encrypted_ssim'))}"
    return Sheet(f"All readers, of {method} ({known})", headings, rows)


def _attackers(summary: dict[str, Any]) -> Sheet:
    return _by_name(summary, "attackers", "An attacker's accuracy by the pairs that he knows", {})


def _misled(summary: dict[str, Any]) -> Sheet:
    names = {FEDERATION: "the federation's", ELSEWHERE: "the same, elsewhere"}
    return _by_name(summary, "misled", "Classifiers that are misled: of their right decisions, the share turned", names)


def _by_name(summary: dict[str, Any], figure: str, title: str, called: dict[str, str]) -> Sheet:
    names = list(dict.fromkeys(name for each in summary["methods"] for name in each[figure]))
    rows = tuple((each["method"], *(_share(each[figure].get(name)) for name in names)) for each in summary["methods"])
    return Sheet(title, ("method", *(called.get(name, name) for name in names)), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
