"""Participants per group for comparing two means or two proportions (normal approximation)."""

import argparse
import math
from statistics import NormalDist


def z_sum(alpha: float, power: float) -> float:
    """z for a two-sided alpha plus z for the power."""
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)


def for_means(difference: float, sd: float, alpha: float, power: float) -> int:
    return math.ceil(2 * (z_sum(alpha, power) * sd / difference) ** 2)


def for_proportions(first: float, second: float, alpha: float, power: float) -> int:
    variance = first * (1 - first) + second * (1 - second)
    return math.ceil(z_sum(alpha, power) ** 2 * variance / (first - second) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    means = kinds.add_parser("means")
    means.add_argument("--difference", type=float, required=True)
    means.add_argument("--sd", type=float, required=True)
    proportions = kinds.add_parser("proportions")
    proportions.add_argument("--first", type=float, required=True)
    proportions.add_argument("--second", type=float, required=True)
    for kind in (means, proportions):
        kind.add_argument("--alpha", type=float, default=0.05)
        kind.add_argument("--power", type=float, default=0.8)
        kind.add_argument("--drop-out", type=float, default=0.0, help="share lost, 0 to below 1")
    given = parser.parse_args()
    if given.kind == "means":
        needed = for_means(given.difference, given.sd, given.alpha, given.power)
    else:
        needed = for_proportions(given.first, given.second, given.alpha, given.power)
    print(f"{needed} analysed per group, {math.ceil(needed / (1 - given.drop_out))} recruited")


if __name__ == "__main__":
    main()
