"""A skill package as it came, and its reading; past this module nothing is untrusted bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import py3langid

from core.errors import PackageUnreadableError
from core.minhash import signature
from core.skill_format import parse
from core.text import PASSAGE_FORMAT, passages, readable, routing_text
from core.types import SkillDraft, TokenCounts, Trust
from indexer.catalog import PreparedSkill

# A row derived under another value is derived anew when its package is next seen.
DERIVATION = f"1/{PASSAGE_FORMAT}"

SKILL_FILE = "SKILL.md"
MAX_PATH_BYTES = 1_024  # PostgreSQL cannot index more than about 2,700
MAX_FILES = 1_000
MAX_FILE_BYTES = 10_000_000
MAX_PACKAGE_BYTES = 50_000_000

CountTokens = Callable[[Sequence[str]], list[int]]

LANGUAGE_SAMPLE = 600  # characters; enough for the classifier, which takes 1 ms per 1,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One skill package from a source; `files` maps relative POSIX paths to bytes."""

    catalogue: str
    path: str
    files: Mapping[str, bytes]
    licence: str | None = None  # what the source says, where the package itself says nothing
    language: str | None = None

    @property
    def digest(self) -> str:
        """`sha256:` over the sorted file paths and their own sha256: same files, same digest."""
        whole = hashlib.sha256()
        for path in sorted(self.files):
            whole.update(f"{path}\0{hashlib.sha256(self.files[path]).hexdigest()}\n".encode())
        return f"sha256:{whole.hexdigest()}"

    @property
    def derivation(self) -> str:
        """What a stored row depends on beside the files; another value means deriving it anew."""
        return f"{DERIVATION} licence={self.licence} language={self.language}"

    @property
    def skill_file(self) -> str | None:
        """The path of its SKILL.md, whatever the case of the name."""
        return next((path for path in self.files if path.upper() == SKILL_FILE.upper()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A package that a source found and could not read."""

    catalogue: str
    path: str
    reason: str


def check_limits(sizes: Mapping[str, int]) -> None:
    """Raise PackageUnreadableError where a package is larger than any skill has reason to be."""
    if len(sizes) > MAX_FILES:
        raise PackageUnreadableError(f"{len(sizes)} files, at most {MAX_FILES} are read")
    for path, size in sizes.items():
        if size > MAX_FILE_BYTES:
            raise PackageUnreadableError(f"{path} has {size} bytes, at most {MAX_FILE_BYTES}")
    if sum(sizes.values()) > MAX_PACKAGE_BYTES:
        raise PackageUnreadableError(f"over {MAX_PACKAGE_BYTES} bytes in all")


def read(package: Package) -> tuple[SkillDraft, list[str]]:
    """The draft of its SKILL.md, and the texts of its other files.

    Raises PackageUnreadableError where there is no SKILL.md, or its path cannot be stored.
    """
    if len(package.path.encode()) > MAX_PATH_BYTES:
        raise PackageUnreadableError(f"its path has more than {MAX_PATH_BYTES} bytes")
    skill_file = package.skill_file
    if skill_file is None:
        raise PackageUnreadableError("no SKILL.md")
    folder = PurePosixPath(package.path).name or package.catalogue.rsplit("/", 1)[-1]
    draft = parse(package.files[skill_file], fallback_name=folder)
    others = [readable(data) for path, data in package.files.items() if path != skill_file]
    return draft, [text for text in others if text is not None]


def language(draft: SkillDraft) -> str:
    """ISO 639-1 code of the text a reader sees first; `und` for an empty skill."""
    sample = f"{draft.description} {draft.body[:LANGUAGE_SAMPLE]}"[:LANGUAGE_SAMPLE].strip()
    return str(py3langid.classify(sample)[0]) if sample else "und"


def prepare(
    packages: Sequence[Package], count_tokens: CountTokens
) -> list[PreparedSkill | Unreadable]:
    """Everything about each package that needs no model but the token counter; order is kept."""
    prepared: list[PreparedSkill | Unreadable] = []
    for package in packages:
        try:
            draft, texts = read(package)
        except PackageUnreadableError as error:
            prepared.append(
                Unreadable(catalogue=package.catalogue, path=package.path, reason=error.detail)
            )
            continue
        counts = count_tokens([routing_text(draft), draft.body, *texts])
        prepared.append(
            PreparedSkill(
                catalogue=package.catalogue,
                path=package.path,
                digest=package.digest,
                derivation=package.derivation,
                files=package.files,
                draft=draft,
                licence=draft.licence or package.licence,
                language=package.language or language(draft),
                trust=Trust.UNREVIEWED,
                tokens=TokenCounts(routing=counts[0], body=counts[1], files=sum(counts[2:])),
                signature=signature(draft.body),
                passages=passages(draft),
            )
        )
    return prepared
