"""Measures the noise of encryption, beside the law and the bound that `PackingPlan` states.

    python benchmarks/noise.py [--keys N] [--ciphertexts N] [--json]

Under each of many fresh keys a few zeros are encrypted and opened. The first table shows a coefficient's deviation,
how it differs between places and between keys, and the share of coefficients beyond 1 to 6 deviations: divided by a
Gaussian's share, and by the bound that plans must keep. A second table does the same for sums of several ciphertexts,
each under a key of its own.
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
from fedward.ciphertexts.plan import noise_tail_bound, plan_layout
from fedward.ciphertexts.serialized import RING_DEGREE, sum_ciphertexts
from fedward.sharing.modular import add

BEYOND = tuple(range(1, 7))
SEED = b"noise"


def noise_of(ciphertexts: int, summands: int) -> NDArray[np.int64]:
    """Coefficients of opened sums of zeros under fresh keys: shape (ciphertexts, RING_DEGREE)."""
    plan = plan_layout(RING_DEGREE * ciphertexts, summands, 1.0, 1, 30)
    keys = [RoundKey.generate() for _ in range(summands)]
    zeros = np.zeros(plan.parameters, np.int64)
    sums = map(sum_ciphertexts, zip(*(encrypt_fields(zeros, plan, key, SEED) for key in keys), strict=True))
    sum_key = RoundKey(functools.reduce(add, (key.residues() for key in keys)))
    return _opened(list(sums), range(ciphertexts), sum_key, SEED)


def measure(keys: int, ciphertexts: int, summands: int) -> dict[str, Any]:
    """Deviation and tails over fresh keys, over the law's."""
    law = plan_layout(1, summands, 1.0, 1, 30)._noise_deviation(summands)
    by_key, by_place, count = [], np.zeros(RING_DEGREE), 0
    beyond = dict.fromkeys(BEYOND, 0)
    for _ in range(keys):
        noise = noise_of(ciphertexts, summands)
        count += noise.size
        by_key.append(float((noise**2).mean()) ** 0.5)
        by_place += (noise**2).sum(axis=0)
        for deviations in BEYOND:
            beyond[deviations] += int((np.abs(noise) > deviations * law).sum())
    places = np.sqrt(by_place / (keys * ciphertexts))
    return {
        "summands": summands,
        "keys": keys,
        "coefficients": count,
        "deviation": float((by_place.sum() / count) ** 0.5),
        "law_deviation": law,
        "place_deviation_least": float(places.min()),
        "place_deviation_most": float(places.max()),
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--ciphertexts", type=int, default=8, help="opened under each key")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    # Fewer keys where each takes 16 times the encryptions.
    rows = [measure(chosen.keys, chosen.ciphertexts, 1), measure(max(1, chosen.keys // 16), chosen.ciphertexts, 16)]
    if chosen.json:
        print(json.dumps({"rows": rows}, indent=2))
        return
    for row in rows:
        print(f"\n{row['summands']} summands, {row['keys']} keys, {row['coefficients']:,} coefficients")
        print(f"  deviation {row['deviation']:.3f}, by the law {row['law_deviation']:.3f}")
        print(f"  of one place over all keys: {row['place_deviation_least']:.2f} to {row['place_deviation_most']:.2f}")
        print(f"  of one key over all places: {row['key_deviation_least']:.2f} to {row['key_deviation_most']:.2f}")
        print("  beyond      count   share over a Gaussian's   over the bound's")
        for deviations, ratio in row["tail_over_law"].items():
            over_bound = row["tail_over_bound"][deviations]
            print(f"  {deviations:>6} {row['tail_counts'][deviations]:>10} {ratio:>25.2f} {over_bound:>18.4f}")


if __name__ == "__main__":
    main()
