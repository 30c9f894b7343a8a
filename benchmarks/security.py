"""How hard it is to break one ciphertext: an estimate by the lattice estimator's method, in a few lines to check.

    python benchmarks/security.py [--json]

Ring-LWE is treated as LWE of the same dimension, as is usual: no attack is known that uses the ring at these sizes. The
attack is the primal one (Kannan's embedding, found by BKZ) under the geometric series assumption, in the form of Alkim,
Ducas, Poeppelmann and Schwabe 2016: with blocks of size b it succeeds where

    deviation * sqrt(b) <= delta(b)^(2 b - d - 1) * q^(m / d),     d = m + n + 1,

for the best number of samples m. A block costs 2^(0.292 b) operations (Becker, Ducas, Gama and Laarhoven 2016) and is
counted once: polynomial factors, and memory of the same size, are left to the defender. Quantum: 2^(0.265 b).

A secret that is uniform is as good as one drawn like the errors, given some more samples (Applebaum et al. 2009), so
the secret's deviation is the errors'. The rows are what an attacker sees: a ciphertext alone, and a ciphertext after
its round was opened. An opening tells the sum of the errors and of the keys of at least two honest hospitals. Uniform
keys with a known sum are still uniform, and of two Gaussian errors with a known sum one has its deviation over sqrt(2).

The last rows hold the method against the published table (Albrecht et al. 2018, "Homomorphic Encryption Standard"):
the largest modulus at 128 bits, errors of 3.19.
"""

import argparse
import json
import math

RING_DEGREE, MODULUS_BITS, DEVIATION = 4096, 60, 6.4
ROWS = (
    ("a ciphertext", RING_DEGREE, MODULUS_BITS, DEVIATION),
    ("after an opening, two honest hospitals", RING_DEGREE, MODULUS_BITS, DEVIATION / math.sqrt(2)),
    ("the standard's table, 128 bits", 2048, 54, 3.19),
    ("the standard's table, 128 bits", 4096, 109, 3.19),
    ("the standard's table, 128 bits", 8192, 218, 3.19),
)


def root_hermite_factor(block: int) -> float:
    """The root Hermite factor that BKZ reaches with blocks of this size (Chen 2013)."""
    return float(((math.pi * block) ** (1 / block) * block / (2 * math.pi * math.e)) ** (1 / (2 * (block - 1))))


def succeeds(block: int, dimension: int, modulus_bits: float, deviation: float) -> bool:
    """Whether blocks of this size find the secret with the best number of samples."""
    log_delta, left = math.log2(root_hermite_factor(block)), math.log2(deviation * math.sqrt(block))
    # m log q / d is largest against d log delta near this number of samples; its neighbors are tried, too.
    best = math.sqrt((dimension + 1) * modulus_bits / log_delta) - dimension - 1
    for samples in (int(best * factor) for factor in (0.9, 0.95, 1.0, 1.05, 1.1)):
        size = samples + dimension + 1
        if samples > 0 and left <= (2 * block - size - 1) * log_delta + modulus_bits * samples / size:
            return True
    return False


def smallest_block(dimension: int, modulus_bits: float, deviation: float) -> int:
    """The smallest block size that succeeds."""
    low, high = 60, 20_000
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if succeeds(middle, dimension, modulus_bits, deviation) else (middle + 1, high)
    return low


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    rows = []
    for name, dimension, bits, deviation in ROWS:
        block = smallest_block(dimension, bits, deviation)
        row = {"what": name, "dimension": dimension, "modulus_bits": bits, "deviation": round(deviation, 2)}
        rows.append(row | {"block": block, "classical": round(0.292 * block), "quantum": round(0.265 * block)})
    if parser.parse_args().json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'what':40} {'n':>6} {'log q':>6} {'deviation':>10} {'block':>6} {'classical':>10} {'quantum':>8}")
    for row in rows:
        print(
            f"{row['what']:40} {row['dimension']:6} {row['modulus_bits']:6} {row['deviation']:10} {row['block']:6} "
            f"{row['classical']:7} bit {row['quantum']:5} bit"
        )


if __name__ == "__main__":
    main()
