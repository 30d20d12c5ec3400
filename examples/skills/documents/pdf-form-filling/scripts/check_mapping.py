"""Check data against the fields of a form before filling: unmapped, too long, not an option."""

import argparse
import json
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def target_of(entry: str | dict[str, str]) -> str:
    """The field's name, whether the mapping gives it alone or with an on state."""
    return entry if isinstance(entry, str) else entry["field"]


def findings(fields: dict[str, Any], mapping: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """One line for each thing that would make the filled form wrong."""
    lines = []
    targets = {target_of(entry) for entry in mapping.values()}
    for name, field in fields.items():
        if field.get("required") and name not in targets:
            lines.append(f"required field {name} has no mapping")
    for key, entry in mapping.items():
        name, value = target_of(entry), data.get(key)
        if name not in fields:
            lines.append(f"{key} points to unknown field {name}")
            continue
        if value is None:
            lines.append(f"no value for {key}")
            continue
        limit = fields[name].get("max_length")
        if limit and len(str(value)) > limit:
            lines.append(f"{key} has {len(str(value))} characters, {name} takes {limit}")
        options = fields[name].get("options")
        if options and value not in options:
            lines.append(f"{key}: {value!r} is not among {options}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("fields", "mapping", "data"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    lines = findings(read(given.fields), read(given.mapping), read(given.data))
    print("\n".join(lines) or "ready to fill")
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()
