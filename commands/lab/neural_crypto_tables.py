"""The tables of `main.py lab neural-crypto`."""

from collections.abc import Mapping
from typing import Any

from commands.lab.sheets import Sheet


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What Bob and Eve read, other keys and statistics, known and chosen plaintexts, the affine break, the verdict."""
    return (
        _readers(summary),
        _eves(summary),
        _bytes(summary),
        _known(summary),
        *_affine(summary),
        _broken(summary),
    )


def _readers(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["cipher"],
            str(each["seeds"]),
            *(_decibels(each[who]) for who in ("bob", "strongest_eve")),
            _number(each["gap_db"]),
            *(_decibels(each[who]) for who in ("prior", "ceiling")),
            *(_similarity(each[who]) for who in ("bob", "strongest_eve", "prior", "ceiling")),
        )
        for each in summary["ciphers"]
    )
    who = ("Bob", "Eve", "gap", "prior", "ceiling", "Bob, SSIM", "Eve", "prior", "ceiling")
    return Sheet(
        "PSNR in dB, and SSIM: Bob, and the strongest Eve trained from scratch", ("cipher", "seeds", *who), rows
    )


def _eves(summary: dict[str, Any]) -> Sheet:
    names = list(summary["ciphers"][0]["eves"]) if summary["ciphers"] else []
    rows = tuple((each["cipher"], *(_decibels(each["eves"][name]) for name in names)) for each in summary["ciphers"])
    return Sheet("Eves by architecture, PSNR in dB", ("cipher", *names), rows)


def _bytes(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["cipher"],
            _refused(each["wrong_key"]),
            _refused(each["near_key"]),
            _number(each["npcr"]),
            _number(each["uaci"]),
            f"{each['entropy_bits']:.3f}",
            f"{each['neighbor_correlation']:.3f}",
        )
        for each in summary["ciphers"]
    )
    headings = ("cipher", "wrong key, dB", "one pixel off, dB", "NPCR %", "UACI %", "entropy, bits", "neighbors")
    return Sheet("Other keys, and how random bytes look (random: 99.61, 33.46, 8, 0)", headings, rows)


def _known(summary: dict[str, Any]) -> Sheet:
    counts = list(summary["ciphers"][0]["known_plaintexts"]) if summary["ciphers"] else []
    rows = tuple(
        (
            each["cipher"],
            *(_decibels(each["known_plaintexts"].get(count)) for count in counts),
            f"{each['chosen_plaintexts']['share']:.3f}",
            f"{each['chosen_plaintexts']['p']:.2g}",
            _decibels(each["same_nonce"]),
        )
        for each in summary["ciphers"]
    )
    known = (f"{count} known" for count in counts)
    headings = ("cipher", *known, "chosen, told apart", "by chance", "nonce used twice, 1 known")
    return Sheet("Under one key: PSNR in dB of other images by known pairs; chosen messages told apart", headings, rows)


def _affine(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    attack = summary["affine_attack"]
    titles = {
        "sent_by_triples": "The published cipher from known triples: largest error of what is sent",
        "code_by_pairs": "The published cipher from known pairs under one key: largest error of the code",
    }
    return tuple(
        Sheet(title, tuple(attack[name]), (tuple(f"{error:.1e}" for error in attack[name].values()),))
        for name, title in titles.items()
        if attack[name]
    )


def _broken(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["cipher"],
            "BROKEN" if each["broken_by"] else "not broken by these",
            ", ".join(f"{one['attack']} ({one['seeds']} of {each['seeds']} seeds)" for one in each["broken_by"]) or "-",
        )
        for each in summary["ciphers"]
    )
    return Sheet("Verdict", ("cipher", "verdict", "by"), rows)


def _decibels(reads: Mapping[str, float] | None) -> str:
    return "-" if reads is None else _number(reads["psnr_db"])


def _similarity(reads: Mapping[str, float] | None) -> str:
    return "-" if reads is None else f"{reads['ssim']:.3f}"


def _refused(reads: Mapping[str, float] | None) -> str:
    return "refused" if reads is None else _number(reads["psnr_db"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
