"""Measures the noise of encryption over many keys, beside the law and the bound that `PackingPlan` states.

    python benchmarks/noise.py [--keys N] [--ciphertexts N] [--json]

For each of many fresh keys, a few encryptions of zero are decrypted. The first table shows the deviation of a
coordinate, how it differs between slots, and the share of coordinates beyond 1 to 10 deviations: divided by the share
of the law, (1 + z) * exp(-2 * z), and by the bound that plans must keep. A second table does the same for sums of
several ciphertexts under one key. Last come the errors of encoding and decoding without any encryption, which
`fedward.ciphertexts.plan` bounds.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from encryption import SecretContext, _new_backend
from fedward.ciphertexts.plan import SLOTS, noise_tail_bound, plan_layout
from fedward.ciphertexts.serialized import add_ciphertexts

BEYOND = tuple(range(1, 11))
SMALL_BITS, LARGE_BITS = 20, 57  # of coordinates: errors of doubles vanish in the first, dominate in the second


def noise_of(secret: SecretContext, ciphertexts: int, summands: int) -> NDArray[np.float64]:
    """Coordinates of opened sums of zeros: shape (ciphertexts, 2 * slots), in encoded units."""
    zero, rows = np.zeros(SLOTS, np.complex128), []
    for _ in range(ciphertexts):
        total = secret.public._encrypt_slots(zero)
        for _ in range(summands - 1):
            total = add_ciphertexts(total, secret.public._encrypt_slots(zero))
        opened = secret._decrypt_slots(total)
        rows.append(np.concatenate([opened.real, opened.imag]))
    return np.array(rows)


def measure(keys: int, ciphertexts: int, summands: int) -> dict[str, Any]:
    """Deviation and tails over fresh keys, over the law's."""
    law = plan_layout(1, summands, 1.0, 1, 30)._noise_deviation(summands)
    squares, count, slot_deviations = 0.0, 0, []
    beyond = dict.fromkeys(BEYOND, 0)
    for _ in range(keys):
        noise = noise_of(SecretContext.generate(), ciphertexts, summands)
        squares += float((noise**2).sum())
        count += noise.size
        slot_deviations.append(np.sqrt((noise**2).mean(axis=0)))
        for deviations in BEYOND:
            beyond[deviations] += int((np.abs(noise) > deviations * law).sum())
    slots = np.concatenate(slot_deviations)
    return {
        "summands": summands,
        "keys": keys,
        "coordinates": count,
        "deviation": (squares / count) ** 0.5,
        "law_deviation": law,
        "slot_deviation_least": float(slots.min()),
        "slot_deviation_most": float(slots.max()),
        "tail_over_law": {
            str(deviations): beyond[deviations] / count / ((1 + deviations) * float(np.exp(-2 * deviations)))
            for deviations in BEYOND
        },
        "tail_over_bound": {
            str(deviations): beyond[deviations] / count / noise_tail_bound(deviations) for deviations in BEYOND
        },
        "tail_counts": {str(deviations): beyond[deviations] for deviations in BEYOND},
    }


def coding_errors(vectors: int) -> dict[str, float]:
    """Largest errors of a coordinate that is encoded and decoded: by the rounding of coefficients, and by doubles.

    Args:
        vectors: How many of each kind. Their numbers are the same at every call, and so are the errors.
    """
    backend, rng = _new_backend(), np.random.default_rng(1)

    def error(coordinates: NDArray[np.float64]) -> float:
        slots = coordinates[0] + 1j * coordinates[1]
        off = backend.decodeComplex(backend.encodeComplex(slots, scale=1.0)) - slots
        return float(max(np.abs(off.real).max(), np.abs(off.imag).max()))

    shape, large = (2, SLOTS), 2.0**LARGE_BITS
    single = np.zeros(shape)
    single[:, 1] = large
    shapes = [np.full(shape, large), np.where(np.arange(SLOTS) % 2, large, -large) * np.ones((2, 1)), single]
    shapes += [rng.choice([-large, large], shape) for _ in range(vectors)]
    shapes += [rng.uniform(-large, large, shape) for _ in range(vectors)]
    small = (np.rint(rng.uniform(-1, 1, shape) * 2.0**SMALL_BITS) for _ in range(vectors))
    return {
        "vectors": vectors,
        "rounding": max(error(coordinates) for coordinates in small),
        "double_precision_log2": float(
            np.log2(max(error(each) / float(np.hypot(each[0], each[1]).max()) for each in shapes))
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--ciphertexts", type=int, default=8, help="opened under each key")
    parser.add_argument("--vectors", type=int, default=1_000, help="of each kind, encoded and decoded")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    # Fewer keys where each takes 16 times the encryptions.
    rows = [measure(chosen.keys, chosen.ciphertexts, 1), measure(max(1, chosen.keys // 16), chosen.ciphertexts, 16)]
    coding = coding_errors(chosen.vectors)
    if chosen.json:
        print(json.dumps({"rows": rows, "coding": coding}, indent=2))
        return
    for row in rows:
        print(f"\n{row['summands']} summands, {row['keys']} keys, {row['coordinates']:,} coordinates")
        print(f"  deviation {row['deviation']:.0f}, by the law {row['law_deviation']:.0f}")
        print(f"  of one slot under one key: {row['slot_deviation_least']:.0f} to {row['slot_deviation_most']:.0f}")
        print("  beyond      count   share over the law's   over the bound's")
        for deviations, ratio in row["tail_over_law"].items():
            over_bound = row["tail_over_bound"][deviations]
            print(f"  {deviations:>6} {row['tail_counts'][deviations]:>10} {ratio:>22.2f} {over_bound:>18.4f}")
    print(f"\nEncoding and decoding alone, {coding['vectors']:,.0f} vectors of a kind: a coordinate is off by at most")
    print(f"  {coding['rounding']:.0f} by the rounding of coefficients")
    print(f"  2^{coding['double_precision_log2']:.1f} of the largest slot by double precision")


if __name__ == "__main__":
    main()
