"""Profile a delimited text file: encoding, delimiter, row widths, value shapes per column."""

import argparse
import csv
import io
import re
from collections import Counter
from pathlib import Path

ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")


def decode(raw: bytes) -> tuple[str, str]:
    """The text and the first encoding that reads it without an error."""
    for encoding in ENCODINGS:
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise ValueError("no known encoding fits")  # latin-1 reads every byte


def guess_delimiter(text: str) -> str:
    """The delimiter that gives the most even row widths over the first 50 lines."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]

    def evenness(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter))
        width, rows = widths.most_common(1)[0] if widths else (1, 0)
        return (rows if width > 1 else 0, width)

    return max(",;\t|", key=evenness)


def shape(value: str) -> str:
    """The value with digits as 9 and letters as A, runs of letters cut to one."""
    return re.sub(r"A+", "A", re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "9", value.strip())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    text, encoding = decode(path.read_bytes())
    delimiter = guess_delimiter(text)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if not rows:
        print("the file is empty")
        return
    header, body = rows[0], rows[1:]
    print(f"encoding {encoding}, delimiter {delimiter!r}, {len(body)} rows")
    print("row widths:", dict(Counter(len(row) for row in rows)))
    for index, name in enumerate(header):
        values = [row[index] for row in body if index < len(row)]
        empty = sum(not value.strip() for value in values)
        shapes = Counter(shape(value) for value in values if value.strip()).most_common(4)
        print(f"{name}: {empty} empty, shapes {shapes}")


if __name__ == "__main__":
    main()
