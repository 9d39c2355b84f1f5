"""Addressed chance: every random draw is a pure function of (seed, purpose, step, index).

Counter-based generators (Philox; Salmon et al. 2011, doi:10.1145/2063384.2063405) make the samples
independent of the number of workers, of devices and of resumes: nothing has to be saved.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *address: int) -> np.random.Generator:
    """A generator for one address.

    Args:
        seed: the run's seed.
        purpose: what is drawn ("crop", "mask", ...); different purposes are independent.
        address: further non-negative numbers, usually (step, index in the batch).

    Examples:
        >>> a = generator(1, "crop", 10, 3).integers(1000)
        >>> b = generator(1, "crop", 10, 3).integers(1000)
        >>> bool(a == b)
        True
    """
    key = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *address])
    return np.random.Generator(np.random.Philox(key))


def device_seed(seed: int, purpose: str, *address: int) -> int:
    """A 63-bit seed of the same kind for generators that live on a device (torch)."""
    return int(generator(seed, purpose, *address).integers(0, 2**63 - 1))
