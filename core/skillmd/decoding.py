"""Decoding of SKILL.md bytes to text lines; every odd byte and invisible character is named."""

from __future__ import annotations

import codecs
import re

from core.skillmd.problems import Findings

MOST_BYTES = 2_000_000

# Not text at all: C0 and C1 controls but tab and newline, surrogates, non-characters.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TAG = re.compile("[\U000e0000-\U000e0fff]")
# Joiners between two non-ASCII characters belong to emoji and to Persian and Indic words.
ZERO_WIDTH = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb]"
    "|(?<![^\x00-\x7f\u200b-\u200d])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\u200b-\u200d])"
)

_INVISIBLE = (
    ("nul-chars", re.compile("\x00")),
    ("control-chars", re.compile("(?!\x00)" + CONTROL.pattern)),
    ("bidi-chars", BIDI),
    ("zero-width-chars", ZERO_WIDTH),
    ("tag-chars", TAG),
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_CJK = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_SYMBOL_IN_WORD = re.compile(r"(?<=[^\W\d_])[\u00a1-\u00bf](?=[^\W\d_])")


def decode(data: bytes, findings: Findings) -> list[str]:
    """The lines of a file without their ends, controls still in them; never raises."""
    if len(data) > MOST_BYTES:
        detail = f"{len(data)} bytes: only the first {MOST_BYTES} are read"
        data = data[:MOST_BYTES]
        findings.add("oversize", detail, len(_LINE_END.findall(data)) + 1)
    text = _text(data, findings)
    if text.startswith("\ufeff"):
        findings.add("bom", "starts with a byte-order mark", 1)
        text = text.lstrip("\ufeff")
    if "\r" in text:
        line = text[: text.index("\r")].count("\n") + 1
        findings.add("crlf", "lines end in CR LF or CR", line)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    name_invisible(text, findings, 1)
    return text.split("\n")


def name_invisible(text: str, findings: Findings, line: int) -> None:
    """Report each class of invisible character in `text`, whose first line is `line`."""
    if text.isascii() and not CONTROL.search(text):
        return
    for code, pattern in _INVISIBLE:
        found = pattern.search(text)
        if found and not findings.has(code):
            count = sum(1 for _ in pattern.finditer(text))
            at = line + text.count("\n", 0, found.start())
            findings.add(code, f"{count} times, first U+{ord(found.group()):04X}", at)


def visible(text: str) -> str:
    """`text` without controls, bidi controls, zero-width and tag characters."""
    if text.isascii() and text.isprintable():
        return text
    for pattern in (CONTROL, BIDI, TAG, ZERO_WIDTH):
        text = pattern.sub("", text)
    return text


def _text(data: bytes, findings: Findings) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            findings.add("not-utf8", f"{encoding} by its byte-order mark", 1)
            return "\ufeff" + data.decode(encoding, "replace")
    for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = data[odd:2000:2]
        if len(half) > 4 and half.count(0) > 0.6 * len(half):
            findings.add("not-utf8", f"read as {encoding} by guess: every other byte is NUL", 1)
            return data.decode(encoding, "replace")
    try:
        # Not final where the file was cut, perhaps inside a character.
        text, _ = codecs.utf_8_decode(data, "strict", len(data) < MOST_BYTES)
        return text
    except UnicodeDecodeError as error:
        text, encoding = _guess(data)
        line = len(_LINE_END.findall(data[: error.start])) + 1
        findings.add("not-utf8", f"{error.reason}; read as {encoding} by guess", line)
        return text


def _guess(data: bytes) -> tuple[str, str]:
    """Text and encoding of bytes that are not UTF-8, by which reading looks least wrong."""
    damaged = data.decode("utf-8", "replace")
    if len(_NOT_ASCII.findall(damaged)) > 2 * damaged.count("\ufffd"):
        return damaged, "utf-8 with damaged characters"
    chinese = data.decode("gb18030", "replace")
    not_ascii = len(_NOT_ASCII.findall(chinese))
    if not_ascii > 3 and "\ufffd" not in chinese and len(_CJK.findall(chinese)) > 0.9 * not_ascii:
        return chinese, "gb18030"
    readings = [(data.decode(name, "replace"), name) for name in ("cp1252", "cp1250")]
    return min(readings, key=lambda reading: len(_SYMBOL_IN_WORD.findall(reading[0])))
