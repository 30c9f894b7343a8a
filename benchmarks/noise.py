"""Measures the noise of encryption, beside the law and the bound that `PackingPlan` states.

    python benchmarks/noise.py [--keys N] [--ciphertexts N] [--json]

Under each of many fresh keys a few zeros are encrypted and opened. The first table shows the deviation of a coordinate,
how it differs between slots and between keys, and the share of coordinates beyond 1 to 6 deviations: divided by a
Gaussian's share, and by the bound that plans must keep. A second table does the same for sums of several ciphertexts,
each under a key of its own. Last come the errors of encoding and decoding without any encryption, which
`fedward.ciphertexts.plan` bounds.
"""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from encryption import RoundKey, _opened, encrypt_fields
from fedward.ciphertexts.embedding import to_coefficients, to_slots
from fedward.ciphertexts.plan import SLOTS, noise_tail_bound, plan_layout
from fedward.ciphertexts.serialized import RING_DEGREE, sum_ciphertexts
from fedward.sharing.modular import add

BEYOND = tuple(range(1, 7))
SEED = b"noise"
SMALL_BITS, LARGE_BITS = 20, 57  # of coordinates: errors of doubles vanish in the first, dominate in the second


def noise_of(ciphertexts: int, summands: int) -> NDArray[np.float64]:
    """Coordinates of opened sums of zeros under fresh keys: shape (ciphertexts, 2 * slots), in encoded units."""
    plan = plan_layout(RING_DEGREE * ciphertexts, summands, 1.0, 1, 30)
    keys = [RoundKey.generate() for _ in range(summands)]
    zeros = np.zeros(plan.parameters, np.int64)
    sums = map(sum_ciphertexts, zip(*(encrypt_fields(zeros, plan, key, SEED) for key in keys), strict=True))
    sum_key = RoundKey(functools.reduce(add, (key.residues() for key in keys)))
    slots = _opened(list(sums), range(ciphertexts), sum_key, SEED)
    return np.concatenate([slots.real, slots.imag], axis=1)


def measure(keys: int, ciphertexts: int, summands: int) -> dict[str, Any]:
    """Deviation and tails over fresh keys, over the law's."""
    law = plan_layout(1, summands, 1.0, 1, 30)._noise_deviation(summands)
    by_key, by_slot, count = [], np.zeros(2 * SLOTS), 0
    beyond = dict.fromkeys(BEYOND, 0)
    for _ in range(keys):
        noise = noise_of(ciphertexts, summands)
        count += noise.size
        by_key.append(float((noise**2).mean()) ** 0.5)
        by_slot += (noise**2).sum(axis=0)
        for deviations in BEYOND:
            beyond[deviations] += int((np.abs(noise) > deviations * law).sum())
    slots = np.sqrt(by_slot / (keys * ciphertexts))
    return {
        "summands": summands,
        "keys": keys,
        "coordinates": count,
        "deviation": float((by_slot.sum() / count) ** 0.5),
        "law_deviation": law,
        "slot_deviation_least": float(slots.min()),
        "slot_deviation_most": float(slots.max()),
        "key_deviation_least": min(by_key),
        "key_deviation_most": max(by_key),
        "tail_over_law": {
            str(deviations): beyond[deviations] / count / float(erfc(deviations / 2**0.5)) for deviations in BEYOND
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
    rng = np.random.default_rng(1)

    def error(coordinates: NDArray[np.float64]) -> float:
        slots = (coordinates[0] + 1j * coordinates[1])[None]
        off = to_slots(np.rint(to_coefficients(slots)).astype(np.int64).astype(np.float64)) - slots
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
        print(f"  of one slot over all keys: {row['slot_deviation_least']:.0f} to {row['slot_deviation_most']:.0f}")
        print(f"  of one key over all slots: {row['key_deviation_least']:.0f} to {row['key_deviation_most']:.0f}")
        print("  beyond      count   share over a Gaussian's   over the bound's")
        for deviations, ratio in row["tail_over_law"].items():
            over_bound = row["tail_over_bound"][deviations]
            print(f"  {deviations:>6} {row['tail_counts'][deviations]:>10} {ratio:>25.2f} {over_bound:>18.4f}")
    print(f"\nEncoding and decoding alone, {coding['vectors']:,.0f} vectors of a kind: a coordinate is off by at most")
    print(f"  {coding['rounding']:.0f} by the rounding of coefficients")
    print(f"  2^{coding['double_precision_log2']:.1f} of the largest slot by double precision")


if __name__ == "__main__":
    main()
