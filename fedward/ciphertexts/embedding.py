"""The canonical embedding of CKKS: slots, which are complex numbers, to a polynomial's real coefficients, and back.

A polynomial of degree below n with real coefficients has a value at each of the n odd powers of a root of unity, and
those at opposite powers are conjugate: n / 2 complex numbers determine it. These are its slots. Slot k is the value at
the power 3^k, as in SEAL, so that SEAL decodes what was encoded here.

Opposite powers let one Fourier transform of length n / 2 do the work. The value at a power m with m = 1 modulo 4 is the
sum of (c_j + i * c_(j + n/2)) * root^(m * j) over j below n / 2, since root^(n/2) to such a power is i. Of m and -m one
is 1 modulo 4; where that is -m, the slot is the conjugate.

Reference: Cheon, Kim, Kim and Song 2017, "Homomorphic Encryption for Arithmetic of Approximate Numbers", section 3.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.serialized import RING_DEGREE

_SLOTS = RING_DEGREE // 2


def to_coefficients(slots: NDArray[np.complex128]) -> NDArray[np.float64]:
    """The polynomials with these slots.

    Args:
        slots: complex128, shape (polynomials, slots).

    Returns:
        float64, shape (polynomials, RING_DEGREE); not rounded.
    """
    order, turned, twist = _tables()
    values = np.empty_like(slots)
    values[:, order] = slots
    values.imag[:, turned] *= -1
    halves = np.fft.fft(values, axis=-1, norm="forward")
    halves *= twist.conj()
    return np.concatenate([halves.real, halves.imag], axis=-1)


def to_slots(coefficients: NDArray[np.float64]) -> NDArray[np.complex128]:
    """The slots of polynomials: the inverse of `to_coefficients`.

    Args:
        coefficients: float64, shape (polynomials, RING_DEGREE).

    Returns:
        complex128, shape (polynomials, slots).
    """
    order, turned, twist = _tables()
    halves = np.empty((len(coefficients), _SLOTS), np.complex128)
    halves.real, halves.imag = coefficients[:, :_SLOTS], coefficients[:, _SLOTS:]
    halves *= twist
    values = np.fft.ifft(halves, axis=-1, norm="forward")
    values.imag[:, turned] *= -1
    return np.ascontiguousarray(values[:, order])


@functools.cache
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.complex128]]:
    """Each slot's place in the Fourier transform, the places that hold conjugates, and powers of the root."""
    power, order, turned = 1, [], []
    for _ in range(_SLOTS):
        opposite = power % 4 == 3
        order.append(((2 * RING_DEGREE - power if opposite else power) - 1) // 4)
        turned += [order[-1]] if opposite else []
        power = power * 3 % (2 * RING_DEGREE)
    return np.array(order), np.array(turned), np.exp(1j * np.pi * np.arange(_SLOTS) / RING_DEGREE)
