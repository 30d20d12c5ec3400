"""How far the last routes are from the rows that their scale was calibrated on; no I/O.

Told by the population stability index of each feature of the first skill and of the confidence,
as credit scoring watches its scorecards (Siddiqi 2006, Credit Risk Scorecards): below .1 nothing
to speak of has changed, from .1 on something, from .25 on much.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reranker.policy import QUANTILE_DIGITS, TENTHS, Scale

WINDOW = 1_000  # routes of a scale that a figure rests on

# By chance alone routes have a PSI of about 9 / LEAST = .045; one time in twenty it is above .085,
# as of chi squared with nine degrees of freedom.
LEAST = 200

EVERY = 50  # routes from one figure to the next

# Of a route that each tenth counts beforehand: with an empty one PSI would be infinite.
SMOOTHING = 0.5

Floats = NDArray[np.float64]


class Drift:
    """The last routes of every scale that has quantiles, held against them; not thread-safe."""

    def __init__(self, scales: Mapping[str, Scale]) -> None:
        self._windows = {
            scored_by: _Window(scale.quantiles)
            for scored_by, scale in scales.items()
            if scale.quantiles
        }

    def observe(self, scored_by: str, found: Mapping[str, float]) -> Mapping[str, float]:
        """Take in what was found of a route's first skill, by feature and `confidence`.

        Returns the PSI of each where a new one is due, else nothing: every 50th route of a scale,
        once there are 200, over the last 1,000.
        """
        window = self._windows.get(scored_by)
        if window is None:
            return {}
        window.add(found)
        return window.figures() if window.due() else {}


class _Window:
    """The places of the last routes' values between the quantiles, and how many have each."""

    def __init__(self, quantiles: Mapping[str, tuple[float, ...]]) -> None:
        self._quantiles = quantiles
        self._places: deque[NDArray[np.intp]] = deque()
        self._seen = 0
        # By how many quantiles lie below a value (first), and not above it (second).
        self._counts = np.zeros((2, len(quantiles), len(TENTHS) + 1), dtype=np.int64)
        self._rows = np.ogrid[:2, : len(quantiles)]

    def add(self, found: Mapping[str, float]) -> None:
        place = self._place(found)
        self._seen += 1
        self._places.append(place)
        self._counts[(*self._rows, place)] += 1
        if len(self._places) > WINDOW:
            self._counts[(*self._rows, self._places.popleft())] -= 1

    def due(self) -> bool:
        return self._seen >= LEAST and self._seen % EVERY == 0

    def figures(self) -> Mapping[str, float]:
        shares = self._shares()
        expected = np.full_like(shares, 1 / shares.shape[-1])
        return dict(zip(self._quantiles, psi(shares, expected).tolist(), strict=True))

    def _place(self, found: Mapping[str, float]) -> NDArray[np.intp]:
        # Rounded as the quantiles are, or a value that many rows have would miss its own.
        values = [
            (edges, round(found[name], QUANTILE_DIGITS)) for name, edges in self._quantiles.items()
        ]
        return np.array(
            [[side(*value) for value in values] for side in (bisect_left, bisect_right)]
        )

    def _shares(self) -> Floats:
        """The share of routes in each tenth, smoothed, of shape (names, tenths).

        What lies on an edge is as good in the tenth below as in that above. As much of it counts
        below as brings the sum up to there closest to what is expected: so a value that many
        calibration rows have, be it several of the quantiles, is no drift while many routes have
        it, and is one once more or fewer have it than those tenths can hold.
        """
        routes = len(self._places)
        upto, below = self._counts.cumsum(axis=2)[..., :-1] / routes
        sums = np.clip(np.broadcast_to(TENTHS, below.shape), below, upto)
        shares = np.diff(sums, axis=1, prepend=0.0, append=1.0)
        smoothed: Floats = (shares * routes + SMOOTHING) / (routes + SMOOTHING * shares.shape[1])
        return smoothed


def psi(observed: Floats, expected: Floats) -> Floats:
    """The population stability index of shares above 0, along the last axis; 0 where they agree.

    It is Jeffreys' divergence: what either side loses when taken for the other, in nats.
    """
    index: Floats = ((observed - expected) * np.log(observed / expected)).sum(axis=-1)
    return index
