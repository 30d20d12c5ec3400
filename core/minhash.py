"""MinHash signatures: how much of their word triples two texts share."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash

# The standard error of a Jaccard estimate is 1 / (2 sqrt(64)) = 0.0625 at most.
SIGNATURE_PERMUTATIONS = 64
SHINGLE_WORDS = 3


def signature(body: str) -> NDArray[np.uint32]:
    """MinHash of the body's word triples (Broder 1997), shape (64,); equal bodies, equal values."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", body).casefold())
    shingles = {
        " ".join(words[i : i + SHINGLE_WORDS])
        for i in range(max(1, len(words) - SHINGLE_WORDS + 1))
    }
    sketch = RMinHash(num_perm=SIGNATURE_PERMUTATIONS, seed=1)
    sketch.update(sorted(shingles))
    return np.array(sketch.digest(), dtype=np.uint32)
