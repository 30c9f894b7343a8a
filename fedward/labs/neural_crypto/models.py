"""All that is trained once a seed, and its file: two autoencoders, the published cipher, the mixer before and after."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedward.labs.lab_folder import keep_arrays, kept_arrays
from fedward.labs.neural_crypto.autoencoder import PUBLISHED, WIDE, Autoencoder, train_autoencoder
from fedward.labs.neural_crypto.ciphers import AesGcm, Bytes, Cipher, Plain
from fedward.labs.neural_crypto.mixer import Mixer, flat, from_flat, new_mixer
from fedward.labs.neural_crypto.mixer_training import train_mixer
from fedward.labs.neural_crypto.plan import AES, MIXER, PLAIN, UNTRAINED, Plan
from fedward.labs.neural_crypto.plan import PUBLISHED as PUBLISHED_CIPHER
from fedward.labs.neural_crypto.published import Affine, train_published


@dataclass(frozen=True)
class Models:
    """What was trained of a seed.

    Attributes:
        narrow: The published autoencoder.
        wide: The one that all ciphers but the published are measured with.
        published: The published cipher.
        untrained: The mixer as it starts.
        mixer: The trained one.
    """

    narrow: Autoencoder = field(repr=False)
    wide: Autoencoder = field(repr=False)
    published: Affine = field(repr=False)
    untrained: Mixer = field(repr=False)
    mixer: Mixer = field(repr=False)

    def cipher(self, name: str) -> tuple[Cipher, Autoencoder]:
        """A cipher by its name, and the autoencoder whose codes it sends."""
        ciphers: dict[str, Cipher] = {
            PLAIN: Plain(),
            PUBLISHED_CIPHER: self.published,
            UNTRAINED: self.untrained,
            MIXER: self.mixer,
            AES: AesGcm(),
        }
        return ciphers[name], self.narrow if name == PUBLISHED_CIPHER else self.wide


def train_models(images: Bytes, plan: Plan, seed: int) -> tuple[Models, dict[str, Any]]:
    """Train all of a seed.

    Args:
        images: uint8, shape (n, 32, 32): training images, which also are the keys.
        plan: How long.
        seed: Decides all draws.

    Returns:
        The models, and what is told of their training.
    """
    pixels = (images[..., None] / np.float32(255.0)).astype(np.float32)
    narrow, wide = (train_autoencoder(kind, pixels, plan.autoencoder_steps, seed) for kind in (PUBLISHED, WIDE))
    published, published_eve = train_published(narrow, pixels, *plan.published_steps, seed)
    start = new_mixer(seed)
    trained, errors = train_mixer(start, wide.codes(pixels), images, plan.mixer_steps, seed)
    untrained = dataclasses.replace(start, name=UNTRAINED, about="the same before training")
    told = {
        "images": len(images),
        "published_eve_psnr_db": published_eve,
        "constant_code_numbers": int((narrow.codes(pixels).std(0) == 0).sum()),
        "eves_error_in_training": errors[:: max(1, len(errors) // 100)],
    }
    return Models(narrow, wide, published, untrained, trained), told


def save_models(path: Path, models: Models) -> None:
    """Write models as one file, whole or not there."""
    arrays: dict[str, Any] = {"alice": models.published.alice, "bob": models.published.bob}
    arrays["range"] = np.array([models.published.low, models.published.high])
    arrays["stretch"] = models.mixer.stretch
    for name, coder in ((PUBLISHED, models.narrow), (WIDE, models.wide)):
        arrays |= {f"{name}-low": coder.low, f"{name}-high": coder.high}
        for part, weights in (("encoder", coder.encoder), ("decoder", coder.decoder)):
            arrays |= {f"{name}-{part}-{place:02d}": each for place, each in enumerate(weights)}
    for mixer in (models.untrained, models.mixer):
        arrays |= {f"{mixer.name}/{place:02d}": each for place, each in enumerate(flat(mixer))}
    keep_arrays(path, **arrays)


def load_models(path: Path) -> Models:
    """Read models.

    Raises:
        EvidenceError: the file is missing or damaged.
    """
    arrays = kept_arrays(path)

    def all_of(prefix: str) -> tuple[Any, ...]:
        return tuple(arrays[name] for name in sorted(arrays) if name.startswith(prefix))

    narrow, wide = (
        Autoencoder(
            kind, all_of(f"{kind}-encoder-"), all_of(f"{kind}-decoder-"), arrays[f"{kind}-low"], arrays[f"{kind}-high"]
        )
        for kind in (PUBLISHED, WIDE)
    )
    low, high = (float(each) for each in arrays["range"])
    mixer = from_flat(all_of(f"{MIXER}/"), arrays["stretch"])
    untrained = from_flat(all_of(f"{UNTRAINED}/"), arrays["stretch"])
    return Models(
        narrow,
        wide,
        Affine(narrow, arrays["alice"], arrays["bob"], low, high),
        dataclasses.replace(untrained, name=UNTRAINED, about="the same before training"),
        mixer,
    )
