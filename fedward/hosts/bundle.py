"""The bundle: the code that a study's hospitals run, as Flower ships it, built from this checkout."""

import tempfile
from pathlib import Path

from fedward.flower import stage_app

MOST_BYTES = 64 * 1024**2


def build_bundle() -> bytes:
    """The bundle of this checkout: only what `fab-include` of pyproject.toml lists.

    Guarantees:
        1. The same files give the same bytes, on any host: a hospital that installed the same version can compare.
    """
    from flwr.cli.build import build_fab_from_disk

    with tempfile.TemporaryDirectory(prefix="fedward-bundle-") as folder:
        app = Path(folder) / "fedward"
        stage_app(app)
        return build_fab_from_disk(app)
