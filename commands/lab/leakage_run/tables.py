"""The tables of `main.py lab leakage --run`."""

from collections.abc import Mapping
from typing import Any

from commands.lab.sheets import Sheet


def sheets(summary: dict[str, Any]) -> tuple[Sheet, ...]:
    """What each party gets out, and what it holds."""
    return _rows(summary), _holdings(summary)


def _rows(summary: dict[str, Any]) -> Sheet:
    rows = tuple(
        (
            row["party"],
            str(row["round"]),
            row["verdict"],
            str(row["attempts"]),
            *(f"{row[name]['psnr_db']:.1f}" for name in ("best", "prior")),
            *(f"{row[name]['ssim']:.3f}" for name in ("best", "prior")),
            *(_hits(row[way]) for way in ("by_picture", "by_gradient", "by_prior")),
            f"1 in {row['among']}",
            f"{row['by_gradient']['place']:.2f}",
        )
        for row in summary["rows"]
    )
    headings = (
        "party",
        "round",
        "verdict",
        "attempts",
        "PSNR",
        "prior",
        "SSIM",
        "prior",
        "named by pictures",
        "by gradients",
        "by the prior",
        "by chance",
        "mean place",
    )
    return Sheet(f"What each party gets out: {summary['training']}; PSNR in dB", headings, rows, keys=2)


def _holdings(summary: dict[str, Any]) -> Sheet:
    rows = tuple((row["party"], str(row["round"]), row["holds"], _files(row["files"])) for row in summary["rows"])
    return Sheet("What each party holds", ("party", "round", "what", "files of the run's folder"), rows, keys=4)


def _files(files: list[str]) -> str:
    """Names, of many ciphertexts the first."""
    chunks = [name for name in files if name.startswith("server/ciphertexts/") and not name.endswith(".json")]
    rest = [name for name in files if name not in chunks]
    if chunks:
        first = f"{chunks[0][: len('server/ciphertexts/') + 8]}..."
        rest.append(first if len(chunks) == 1 else f"{first} and {len(chunks) - 1} more")
    return ", ".join(rest) or "-"


def _hits(found: Mapping[str, Any]) -> str:
    return f"{found['hits']} of {found['of']}"
