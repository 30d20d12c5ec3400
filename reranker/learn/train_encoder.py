"""Train the encoder on skills and what should find them: InfoNCE over batches of neighbours.

Each step takes `skills` skills, one passage of each and up to `queries` queries of each. A query
must find its skill's passage among those of the batch. The loss is InfoNCE (van den Oord et al.
2018) at a temperature of .05, over cosines, without the skills that may be right as well. The word
embeddings stay as they were: half of the weights, and words that no example holds keep their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.types import PassageKind, Vectors
from reranker.learn.batches import Kinship, Neighbours, Rows, batches
from reranker.learn.examples import OWN, Source, TrainingSkill, masked, sentences
from reranker.learn.run import Figures, RunRecipe, TrainingRun

CHUNK = 8  # texts of similar length that are encoded together: little padding


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(RunRecipe):
    """Everything that shapes the encoder's weights."""

    steps: int = 800
    learning_rate: float = 1.5e-4
    kept: float = 0.75
    skills: int = 64  # of a batch
    queries: int = 2  # of each skill at most
    temperature: float = 0.05
    tokens: int = 256  # window of queries and passages, and of the exported encoder
    mask: float = 0.5  # share of passages whose name is hidden from queries that people wrote
    hard_negatives: bool = True
    sources: tuple[Source, ...] = tuple(Source)


SHARES = {
    Source.DESCRIPTION: 1.0,
    Source.TRIGGER: 1.0,
    Source.SECTION: 0.5,
    Source.QUOTED: 1.5,
    Source.PROMPT: 3.0,
    Source.TASK: 3.0,
    Source.REQUEST: 3.0,
}
"""How often a source of a skill is drawn beside its others: what people wrote for it, first."""

Encode = Callable[[Sequence[str]], Vectors]
Measure = Callable[[Encode], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is trained on, prepared once for every run over it."""

    skills: Sequence[TrainingSkill]
    heads: Rows  # rows of `skills` that open the knots of an epoch, some several times
    kinship: Kinship
    near: Neighbours


class Encoder:
    """A transformer with mean pooling, and its tokenizer."""

    def __init__(self, source: Path, device: str, precision: torch.dtype = torch.bfloat16) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.source = source
        self.device = device
        self.precision = precision  # of the matrix products; the weights stay fp32
        self.tokenizer: Any = AutoTokenizer.from_pretrained(source)
        # Without dropout: two visits of a skill differ by passage, queries and mask anyway.
        # On a CPU the fused attention's backward pass takes as long as all the rest: 4.2 s a step,
        # 1.9 s without it.
        model: Any = AutoModel.from_pretrained(source, attn_implementation="eager")
        self.model = model.eval().to(device)
        self.model.embeddings.word_embeddings.requires_grad_(False)

    def vectors(self, texts: Sequence[str], max_tokens: int) -> Tensor:
        """Shape (texts, dimension), L2-normalised, with gradients where those are on."""
        ids = self.tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
        longest_first = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        halved = self.precision is not torch.float32
        with torch.autocast(self.device, self.precision, enabled=halved):
            found = [
                self._pooled([ids[row] for row in longest_first[start : start + CHUNK]])
                for start in range(0, len(ids), CHUNK)
            ]
        back = torch.empty(len(ids), dtype=torch.long)
        back[torch.tensor(longest_first)] = torch.arange(len(ids))
        return torch.cat(found)[back.to(self.device)]

    def _pooled(self, ids: Sequence[Sequence[int]]) -> Tensor:
        longest = max(map(len, ids))
        rows = torch.zeros((len(ids), longest), dtype=torch.long)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for number, row in enumerate(ids):
            rows[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        rows, mask = rows.to(self.device), mask.to(self.device)
        hidden = self.model(input_ids=rows, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        pooled = (hidden.float() * weights).sum(1) / weights.sum(1)
        return functional.normalize(pooled, dim=-1)

    def embed(self, texts: Sequence[str], max_tokens: int) -> Vectors:
        """Shape (texts, dimension), without gradients."""
        with torch.inference_mode():
            found = [
                self.vectors(texts[start : start + 1_024], max_tokens).cpu().numpy()
                for start in range(0, len(texts), 1_024)
            ]
        return np.concatenate(found)

    def save(self, folder: Path) -> None:
        """As a folder that transformers and `export_encoder` load."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Texts of one step: `owner` says which of the passages answers each query."""

    rows: Rows
    passages: Sequence[str]
    queries: Sequence[str]
    owner: Rows


def compose(
    rows: Rows, skills: Sequence[TrainingSkill], recipe: Recipe, generator: np.random.Generator
) -> Batch:
    """Draw a passage and queries for every skill of a batch that has any."""
    kept: list[int] = []
    passages: list[str] = []
    queries: list[str] = []
    owner: list[int] = []
    for row in rows.tolist():
        skill = skills[row]
        kind = _passage_kind(skill, generator)
        drawn = _drawn(skill, kind, recipe, generator)
        if not drawn:
            continue
        own = [part for source, text in drawn if source in OWN for part in sentences(text)]
        hidden = bool(own) or generator.random() < recipe.mask
        name = skill.name if hidden and recipe.mask else ""
        passages.append(masked(skill.passages[kind], name, own))
        queries += [masked(text, name) if source in OWN else text for source, text in drawn]
        owner += [len(kept)] * len(drawn)
        kept.append(row)
    return Batch(
        rows=np.array(kept, dtype=np.int64),
        passages=passages,
        queries=queries,
        owner=np.array(owner, dtype=np.int64),
    )


def _passage_kind(skill: TrainingSkill, generator: np.random.Generator) -> PassageKind:
    """The body passage by 60 %: a description finds only that one."""
    if PassageKind.BODY not in skill.passages or generator.random() >= 0.6:
        return PassageKind.ROUTING
    return PassageKind.BODY


def _drawn(
    skill: TrainingSkill, kind: PassageKind, recipe: Recipe, generator: np.random.Generator
) -> list[tuple[Source, str]]:
    """At most `recipe.queries` of the skill's queries, of different sources."""
    sources = [
        source
        for source in skill.queries
        if source in recipe.sources
        and not (source is Source.DESCRIPTION and kind is PassageKind.ROUTING)
    ]
    if not sources:
        return []
    shares = np.array([SHARES[source] for source in sources])
    picked = generator.choice(
        len(sources), min(recipe.queries, len(sources)), replace=False, p=shares / shares.sum()
    )
    return [
        (sources[place], str(generator.choice(np.array(skill.queries[sources[place]], object))))
        for place in picked
    ]


def info_nce(
    queries: Tensor, passages: Tensor, owner: Tensor, ignored: Tensor, temperature: float
) -> Tensor:
    """Mean of -log softmax(cosine / temperature) at each query's passage.

    Shapes (queries, dimension), (passages, dimension), (queries,); `ignored`, shape
    (queries, passages), are pairs that are neither right nor wrong.
    """
    scores = (queries @ passages.T / temperature).masked_fill(ignored, -math.inf)
    return functional.cross_entropy(scores, owner)


class EncoderTraining(TrainingRun):
    """A run over batches of neighbours."""

    def __init__(
        self, encoder: Encoder, material: Material, recipe: Recipe, folder: Path, measure: Measure
    ) -> None:
        """Raises TrainingError where the folder holds a run of another recipe or other rows."""
        self.encoder = encoder
        self._material = material
        self._encoder_recipe = recipe
        self._measure = measure
        self._shared = _shared_texts(material.skills)
        rows = {"rows": len(material.skills), "heads": len(material.heads)}
        super().__init__(encoder.model, recipe, folder, rows)
        self._drawn = batches(
            material.heads,
            recipe.skills,
            material.near if recipe.hard_negatives else None,
            recipe.seed,
            self._done,
        )

    def loss(self, step: int) -> Tensor:
        """InfoNCE of the next batch; steps come in order."""
        recipe = self._encoder_recipe
        generator = np.random.default_rng([recipe.seed, step, 1])
        batch = compose(next(self._drawn), self._material.skills, recipe, generator)
        passages = self.encoder.vectors(batch.passages, recipe.tokens)
        queries = self.encoder.vectors(batch.queries, recipe.tokens)
        return info_nce(
            queries,
            passages,
            torch.from_numpy(batch.owner).to(queries.device),
            torch.from_numpy(self._ignored(batch)).to(queries.device),
            recipe.temperature,
        )

    def measure(self) -> Figures:
        """What the caller measures of vectors."""
        return self._measure(lambda texts: self.encoder.embed(texts, self._encoder_recipe.tokens))

    def _ignored(self, batch: Batch) -> NDArray[np.bool_]:
        """Pairs of a query and a passage that is not its own, yet may be right."""
        found = self._material.kinship.may_share(batch.rows, batch.rows)[batch.owner]
        for number, text in enumerate(batch.queries):
            if text in self._shared:
                found[number] |= np.isin(batch.rows, self._shared[text])
        found[np.arange(len(batch.owner)), batch.owner] = False
        return found


def _shared_texts(skills: Sequence[TrainingSkill]) -> dict[str, Rows]:
    """Queries that several skills answer, with those."""
    owners: dict[str, list[int]] = {}
    for row, skill in enumerate(skills):
        for text in {text for texts in skill.queries.values() for text in texts}:
            owners.setdefault(text, []).append(row)
    return {text: np.array(rows) for text, rows in owners.items() if len(rows) > 1}
