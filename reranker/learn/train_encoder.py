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
from torch import Tensor
from torch.nn import functional

from core.openvino_model import padded
from core.types import PassageKind, Vectors
from reranker.learn.batches import Material, Rows, batches
from reranker.learn.examples import OWN, Source, TrainingSkill, masked
from reranker.learn.questions import Answers, drawn, hidden_parts
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


Encode = Callable[[Sequence[str]], Vectors]
Measure = Callable[[Encode], Mapping[str, float]]


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
        inputs = {
            name: torch.from_numpy(held).to(self.device) for name, held in padded(ids).items()
        }
        hidden = self.model(**inputs).last_hidden_state
        weights = inputs["attention_mask"].unsqueeze(-1).float()
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
        asked = _queries(skill, kind, recipe, generator)
        if not asked:
            continue
        name, said = hidden_parts(skill, asked, recipe.mask, generator)
        passages.append(masked(skill.passages[kind], name, said))
        queries += [masked(text, name) if source in OWN else text for source, text in asked]
        owner += [len(kept)] * len(asked)
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


def _queries(
    skill: TrainingSkill, kind: PassageKind, recipe: Recipe, generator: np.random.Generator
) -> list[tuple[Source, str]]:
    """What to ask for the passage; the description stands in the routing passage."""
    in_passage = {Source.DESCRIPTION} if kind is PassageKind.ROUTING else set()
    return drawn(skill, set(recipe.sources) - in_passage, recipe.queries, generator)


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
        self._answers = Answers(material.skills, material.kinship)
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
        ignored = self._answers.uncertain(batch.rows, batch.queries, batch.owner)
        passages = self.encoder.vectors(batch.passages, recipe.tokens)
        queries = self.encoder.vectors(batch.queries, recipe.tokens)
        return info_nce(
            queries,
            passages,
            torch.from_numpy(batch.owner).to(queries.device),
            torch.from_numpy(ignored).to(queries.device),
            recipe.temperature,
        )

    def measure(self) -> Figures:
        """What the caller measures of vectors."""
        return self._measure(lambda texts: self.encoder.embed(texts, self._encoder_recipe.tokens))
