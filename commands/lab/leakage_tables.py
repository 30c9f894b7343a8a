"""The tables of `main.py lab leakage`."""

from collections.abc import Mapping
from typing import Any

from commands.lab.sheets import Sheet
from fedward.labs.leakage.summary import row_name


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What each row gives away, and what each way to match reached."""
    return _rows(summary), _matchings(summary)


def _rows(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            row_name(row),
            str(row["images_seen"]),
            row["verdict"],
            str(row["attempts"]),
            _hits(row["named"]),
            f"1 in {round(1 / row['named']['chance'])}",
            _hits(row["labels_read"]),
            *(_decibels(row[name]) for name in ("best", "highest", "cleaned", "prior", "ceiling")),
            *(_similar(row[name], "ssim") for name in ("best", "prior")),
            *(_similar(row[name], "ssim") for name in ("most_above_prior", "strangers_above_prior")),
            _similar(row["best"], "ssim_global"),
        )
        for row in summary["rows"]
    )
    headings = (
        "what the server sees",
        "images",
        "verdict",
        "attempts",
        "named",
        "by chance",
        "labels",
        "PSNR",
        "highest",
        "denoised",
        "prior",
        "ceiling",
        "SSIM",
        "prior",
        "most above",
        "of strangers",
        "global SSIM",
    )
    seeds = ", ".join(map(str, summary["seeds"]))
    return Sheet(f"The best attempt on each update, mean over victims of seeds {seeds}; PSNR in dB", headings, rows)


def _matchings(summary: dict[str, Any]) -> Sheet:
    names = list(dict.fromkeys(name for row in summary["rows"] for name in row["matchings"]))
    rows = tuple((row_name(row), *(_number(row["matchings"].get(name)) for name in names)) for row in summary["rows"])
    return Sheet("PSNR of single attempts in dB, mean over victims", ("what the server sees", *names), rows)


def _decibels(figures: Mapping[str, float] | None) -> str:
    return "-" if figures is None else _number(figures["psnr_db"])


def _similar(figures: Mapping[str, float] | None, name: str) -> str:
    return "-" if figures is None else f"{figures[name]:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _hits(found: Mapping[str, Any]) -> str:
    return f"{found['hits']} of {found['of']}"
