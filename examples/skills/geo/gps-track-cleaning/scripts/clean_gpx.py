"""Drop untimed, repeated and impossibly fast points from a GPX track; writes a new file."""

import argparse
import math
import xml.etree.ElementTree as ET
from datetime import datetime
from pathlib import Path

EARTH_RADIUS_M = 6_371_008.8


def place(point: ET.Element) -> tuple[float, float]:
    return math.radians(float(point.attrib["lat"])), math.radians(float(point.attrib["lon"]))


def metres(one: ET.Element, other: ET.Element) -> float:
    """Great-circle distance by the haversine formula."""
    (lat1, lon1), (lat2, lon2) = place(one), place(other)
    h = math.sin((lat2 - lat1) / 2) ** 2
    h += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(h))


def moment(point: ET.Element) -> float | None:
    """Unix time of the point, None where it has none."""
    text = point.findtext("{*}time")
    return datetime.fromisoformat(text.strip()).timestamp() if text else None


def cleaned(points: list[ET.Element], max_speed: float) -> list[ET.Element]:
    """The timed points in order, without repeats and without spikes."""
    timed = {time: point for point in points if (time := moment(point)) is not None}
    times = sorted(timed)
    ordered = [timed[time] for time in times]

    def too_fast(i: int) -> bool:
        return metres(ordered[i - 1], ordered[i]) > max_speed * (times[i] - times[i - 1])

    last = len(ordered) - 1
    return [
        point
        for i, point in enumerate(ordered)
        if not (0 < i < last and too_fast(i) and too_fast(i + 1))
    ]


def length(points: list[ET.Element]) -> float:
    return sum(metres(points[i - 1], points[i]) for i in range(1, len(points)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--max-speed", type=float, default=60.0, help="metres per second")
    given = parser.parse_args()
    tree = ET.parse(given.source)
    ET.register_namespace("", tree.getroot().tag.partition("}")[0].lstrip("{"))
    for segment in tree.iterfind(".//{*}trkseg"):
        points = segment.findall("{*}trkpt")
        kept = cleaned(points, given.max_speed)
        for point in points:
            segment.remove(point)
        segment[:0] = kept
        print(
            f"{len(points)} → {len(kept)} points, "
            f"{length(points) / 1000:.2f} → {length(kept) / 1000:.2f} km"
        )
    tree.write(given.target, encoding="utf-8", xml_declaration=True)


if __name__ == "__main__":
    main()
