"""A part of the campaign of `campaigns/bits.py`: files are what was written, or refused."""

import numpy as np
from campaigns.bits import judge, subjects


def test_no_flipped_bit_makes_another_network(tmp_path):
    """One bit in each byte; every bit in `campaigns/bits.py`."""
    for subject in subjects(tmp_path):
        rng = np.random.default_rng(0)
        size = subject.path.stat().st_size
        step = 1 if "network" in subject.name else 11
        counts, wrong = judge(subject, [(8 * byte + int(rng.integers(8)),) for byte in range(0, size, step)])
        assert not wrong
        assert sum(counts.values()) == len(range(0, size, step))
        if "matrix" not in subject.name:  # a zip holds times and versions, which say nothing of the numbers
            assert {outcome for _, outcome in counts} == {"refused"}
