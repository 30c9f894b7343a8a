"""The tables of `main.py lab neural-crypto`."""

from collections.abc import Mapping
from typing import Any

from commands.lab.sheets import Sheet


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What Bob and Eve read, other keys and statistics, known and chosen plaintexts, the affine break, the verdict."""
    return (
        _decibels_read(summary),
        _similarity_read(summary),
        _eves(summary),
        _bytes(summary),
        _known(summary),
        _chosen(summary),
        *_affine(summary),
        _broken(summary),
    )


def _decibels_read(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["cipher"],
            str(each["seeds"]),
            *(_decibels(each[who]) for who in ("bob", "strongest_eve")),
            *(_number(each[gap]) for gap in ("gap_db", "gap_db_least")),
            *(_decibels(each[who]) for who in ("prior", "ceiling")),
        )
        for each in summary["ciphers"]
    )
    headings = ("cipher", "seeds", "Bob", "Eve", "gap", "least gap", "prior", "ceiling")
    return Sheet("PSNR in dB: Bob, and the strongest Eve trained from scratch", headings, rows)


def _similarity_read(summary: dict[str, Any]) -> Sheet:
    who = ("bob", "strongest_eve", "prior", "ceiling", "wrong_key", "near_key")
    rows = tuple((each["cipher"], *(_similarity(each[name]) for name in who)) for each in summary["ciphers"])
    headings = ("cipher", "Bob", "Eve", "prior", "ceiling", "wrong key", "one pixel off")
    return Sheet("SSIM of the same, and under other keys", headings, rows)


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
            _decibels(each["same_nonce"]),
        )
        for each in summary["ciphers"]
    )
    headings = ("cipher", *counts, "1, nonce used twice")
    return Sheet("Under one key: PSNR in dB of other images by known pairs", headings, rows)


def _chosen(summary: dict[str, Any]) -> Sheet:
    rows = []
    for each in summary["ciphers"]:
        told = each["chosen_plaintexts"]
        low, high = told["interval"]
        share = f"{told['share']:.3f} ({low:.3f} to {high:.3f})"
        rows.append((each["cipher"], str(told["asked"]), share, _chance(told["p"])))
    headings = ("cipher", "messages", "told apart", "by guessing, least")
    return Sheet("Two chosen messages under one key, new nonces: which was sent", headings, tuple(rows))


def _chance(value: float) -> str:
    return f"{value:.2g}" if value else "below 1e-300"


def _affine(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    titles = {
        "sent_by_triples": "The published cipher by least squares: error of what is sent, by known triples",
        "code_by_pairs": "The published cipher by least squares: error of the code, by known pairs under one key",
    }
    attack, found = summary["affine_attack"], []
    for by, title in titles.items():
        kinds = {name: attack[name][by] for name in ("random", "images") if name in attack}
        if kinds:
            rows = [
                (f"{name}, {figure}", *(_error(errors[figure], figure) for errors in counts.values()))
                for name, counts in kinds.items()
                for figure in ("largest", "median", "exact")
            ]
            found.append(Sheet(title, ("codes", *kinds["random"]), tuple(rows)))
    return tuple(found)


def _error(value: float, figure: str) -> str:
    return f"{value:.3f}" if figure == "exact" else f"{value:.0e}"


def _broken(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            each["cipher"],
            "BROKEN" if each["broken_by"] else "not broken by these",
            ", ".join(_attack(one, each["seeds"]) for one in each["broken_by"]) or "-",
        )
        for each in summary["ciphers"]
    )
    return Sheet("Verdict", ("cipher", "verdict", "by"), rows, keys=3)


def _attack(one: Mapping[str, Any], seeds: int) -> str:
    return one["attack"] if one["seeds"] == seeds else f"{one['attack']} ({one['seeds']} of {seeds} seeds)"


def _decibels(reads: Mapping[str, float] | None) -> str:
    return "-" if reads is None else _number(reads["psnr_db"])


def _similarity(reads: Mapping[str, float] | None) -> str:
    return "-" if reads is None else f"{reads['ssim']:.3f}"


def _refused(reads: Mapping[str, float] | None) -> str:
    return "refused" if reads is None else _number(reads["psnr_db"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
