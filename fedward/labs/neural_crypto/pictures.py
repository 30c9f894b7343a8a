"""Pictures of the lab: what Bob and Eve see, and how few known messages recover the published cipher."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fedward.figures.image_grid import image_grid
from fedward.figures.plots import BLUE, GREEN, GREY, ORANGE, PINK, save_figure
from fedward.labs.neural_crypto.trial import Picture

_COLORS = (GREY, ORANGE, PINK, BLUE, GREEN)
_LEAST = 1e-16  # what an error of 0 is drawn as


def plot_images(path: Path, picture: Picture, title: str) -> None:
    """Draw a few images: original, key, what was sent, Bob, the strongest Eve, and Bob with a wrong key."""
    columns = [
        ("original", picture.originals),
        ("key", picture.keys),
        ("sent", picture.sent),
        ("Bob", picture.bob),
        ("strongest Eve", picture.eve),
        ("wrong key", picture.wrong_key),
    ]
    save_figure(path, image_grid(columns, title))


def plot_break(path: Path, attack: dict[str, Any]) -> None:
    """Draw the error of the recovered cipher by known triples, and of codes by pairs under one key."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, of, figures in (("random", "random codes, largest", "largest"), ("images", "images, median", "median")):
        for by, label, color, marker in (
            ("sent_by_triples", "what is sent, from triples", BLUE, "o"),
            ("code_by_pairs", "the code, from pairs under one key", ORANGE, "s"),
        ):
            points = {
                int(count): max(errors[figures], _LEAST) for count, errors in attack.get(name, {}).get(by, {}).items()
            }
            style = "-" if name == "random" else "--"
            axes.plot(list(points), list(points.values()), style, marker=marker, color=color, label=f"{label}: {of}")
    axes.set_yscale("log")
    axes.set_xlabel("Known messages")
    axes.set_ylabel("Error on unseen messages")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(path, figure)


def plot_known(path: Path, summary: dict[str, Any]) -> None:
    """Draw what the strongest attacker reads under one key by the pairs that he knows, beside the prior."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for each, color in zip(summary["ciphers"], _COLORS, strict=False):
        points = {int(count): reads["psnr_db"] for count, reads in each["known_plaintexts"].items()}
        axes.plot(list(points), list(points.values()), marker="o", color=color, label=each["cipher"])
    if summary["ciphers"]:
        axes.axhline(
            summary["ciphers"][0]["prior"]["psnr_db"], color="black", linestyle=":", label="prior (mean image)"
        )
    axes.set_xscale("log")
    axes.set_xlabel("Known pairs under one key")
    axes.set_ylabel("PSNR of other images (dB)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(path, figure)
