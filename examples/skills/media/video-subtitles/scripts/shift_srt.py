"""Shift and stretch the times of an SRT file, and report cues that overlap or read too fast."""

import argparse
import re
from pathlib import Path

STAMP = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3})")
TIMING = re.compile(r"^(\S+) --> (\S+)(.*)$", re.MULTILINE)
MAX_CHARACTERS_PER_SECOND = 17


def seconds(stamp: str) -> float:
    match = STAMP.fullmatch(stamp)
    if match is None:
        raise ValueError(f"not a time: {stamp}")
    hours, minutes, whole, thousandths = map(int, match.groups())
    return hours * 3600 + minutes * 60 + whole + thousandths / 1000


def stamp(time: float) -> str:
    """The time in seconds as SRT writes it; times before zero become zero."""
    thousandths = max(0, round(time * 1000))
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"


def moved(text: str, factor: float, offset: float) -> str:
    def replace(match: re.Match[str]) -> str:
        start, end = (seconds(match[i]) * factor + offset for i in (1, 2))
        return f"{stamp(start)} --> {stamp(end)}{match[3]}"

    return TIMING.sub(replace, text)


def complaints(text: str) -> list[str]:
    """One line for each cue that begins before its predecessor ends or is too fast to read."""
    found, last_end = [], 0.0
    for block in re.split(r"\n\s*\n", text.strip()):
        timing = TIMING.search(block)
        if timing is None:
            continue
        start, end = seconds(timing[1]), seconds(timing[2])
        words = block[timing.end() :].strip().replace("\n", " ")
        if start < last_end:
            found.append(f"{timing[1]} overlaps the cue before")
        if end <= start or len(words) / (end - start) > MAX_CHARACTERS_PER_SECOND:
            found.append(f"{timing[1]} is too fast to read")
        last_end = end
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--offset", type=float, default=0.0, help="seconds, may be negative")
    parser.add_argument("--factor", type=float, default=1.0)
    given = parser.parse_args()
    text = given.source.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    result = moved(text, given.factor, given.offset)
    given.target.write_text(result, encoding="utf-8")
    print("\n".join(complaints(result)) or "no complaints")


if __name__ == "__main__":
    main()
