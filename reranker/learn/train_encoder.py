"""Train the encoder on skills and what should find them: InfoNCE over batches of neighbours.

Each step takes `skills` skills, one passage of each and up to `queries` queries of each. A query
must find its skill's passage among those of the batch. The loss is InfoNCE (van den Oord et al.
2018) at a temperature of .05, over cosines, without the skills that may be right as well. The word
embeddings stay as they were: half of the weights, and words that no example holds keep their place.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.errors import LoadstarError
from core.types import PassageKind, Vectors
from reranker.learn.batches import Kinship, Neighbours, Rows, batches
from reranker.learn.examples import OWN, Source, TrainingSkill, masked, sentences

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.jsonl"
CHUNK = 8  # texts of similar length that are encoded together: little padding


class TrainingError(LoadstarError):
    """A training run cannot start or go on."""

    code = "training_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that shapes the weights; two runs of one recipe over the same rows agree."""

    steps: int = 800
    skills: int = 64  # of a batch
    queries: int = 2  # of each skill at most
    learning_rate: float = 1.5e-4
    warm_up: float = 0.1  # share of the steps
    temperature: float = 0.05
    tokens: int = 256  # window of queries and passages, and of the exported encoder
    mask: float = 0.5  # share of passages whose name is hidden from queries that people wrote
    hard_negatives: bool = True
    sources: tuple[Source, ...] = tuple(Source)
    kept: float = 0.75  # share of what training changed, see Training._keep
    seed: int = 1


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
OnStep = Callable[[int, int, str], None]
"""Told the step, how many there are, and the loss with the last held-out figures."""


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


class Training:
    """One run, which goes on where its folder's checkpoint left it."""

    def __init__(self, encoder: Encoder, material: Material, recipe: Recipe, folder: Path) -> None:
        """Raises TrainingError where the folder holds a run of another recipe or other rows."""
        self.encoder = encoder
        self.material = material
        self.recipe = recipe
        self.folder = folder
        self._shared = _shared_texts(material.skills)
        self._start = {name: w.clone() for name, w in encoder.model.state_dict().items()}
        self._done = 0
        self._optimiser = torch.optim.AdamW(
            encoder.model.parameters(), lr=recipe.learning_rate, weight_decay=0.01
        )
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).is_file():
            self._resume()

    def run(self, measure: Measure, on_step: OnStep, *, every: int = 200) -> None:
        """Train to the recipe's last step; measure, save and note the curve `every` steps.

        The last line of the curve is of the weights that are kept.
        """
        recipe = self.recipe
        if not self._done:
            self._note(measure, math.nan, 0.0)
        drawn = batches(
            self.material.heads,
            recipe.skills,
            self.material.near if recipe.hard_negatives else None,
            recipe.seed,
            self._done,
        )
        losses: list[float] = []
        began = time.monotonic()
        while self._done < recipe.steps:
            losses.append(self._step(next(drawn)))
            step = self._done
            on_step(step, recipe.steps, f"loss {np.mean(losses[-50:]):.3f}")
            if step % every == 0 or step == recipe.steps:
                seconds = time.monotonic() - began
                self._save()
                if step == recipe.steps:
                    self._keep()
                on_step(step, recipe.steps, self._note(measure, float(np.mean(losses)), seconds))
                losses, began = [], time.monotonic()

    def _step(self, rows: Rows) -> float:
        recipe, step = self.recipe, self._done
        generator = np.random.default_rng([recipe.seed, step, 1])
        batch = compose(rows, self.material.skills, recipe, generator)
        passages = self.encoder.vectors(batch.passages, recipe.tokens)
        queries = self.encoder.vectors(batch.queries, recipe.tokens)
        loss = info_nce(
            queries,
            passages,
            torch.from_numpy(batch.owner).to(queries.device),
            torch.from_numpy(self._ignored(batch)).to(queries.device),
            recipe.temperature,
        )
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, recipe)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoder.model.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._done += 1
        return float(loss.item())

    def _ignored(self, batch: Batch) -> NDArray[np.bool_]:
        """Pairs of a query and a passage that is not its own, yet may be right."""
        found = self.material.kinship.may_share(batch.rows, batch.rows)[batch.owner]
        for number, text in enumerate(batch.queries):
            if text in self._shared:
                found[number] |= np.isin(batch.rows, self._shared[text])
        found[np.arange(len(batch.owner)), batch.owner] = False
        return found

    def _keep(self) -> None:
        """Draw the weights back towards the start's, where they were robust.

        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
        """
        weights = self.encoder.model.state_dict()
        for name, start in self._start.items():
            if start.is_floating_point():
                weights[name].copy_(torch.lerp(start, weights[name], self.recipe.kept))

    def _note(self, measure: Measure, loss: float, seconds: float) -> str:
        figures = measure(lambda texts: self.encoder.embed(texts, self.recipe.tokens))
        line = {"step": self._done, "loss": loss, "seconds": seconds, **figures}
        with (self.folder / CURVE).open("a") as curve:
            curve.write(json.dumps(line) + "\n")
        return " ".join(f"{name} {value:.3f}" for name, value in figures.items())

    def curve(self) -> list[dict[str, float]]:
        """The held-out figures by step, with the mean loss and the seconds since the last ones."""
        return [json.loads(line) for line in (self.folder / CURVE).read_text().splitlines()]

    def _identity(self) -> dict[str, Any]:
        rows = {"rows": len(self.material.skills), "heads": len(self.material.heads)}
        return {**asdict(self.recipe), "sources": [*map(str, self.recipe.sources)], **rows}

    def _save(self) -> None:
        state = {
            "identity": self._identity(),
            "model": self.encoder.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self._done,
        }
        unfinished = self.folder / f"{CHECKPOINT}.new"
        torch.save(state, unfinished)
        unfinished.replace(self.folder / CHECKPOINT)

    def _resume(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, weights_only=True)
        if state["identity"] != self._identity():
            raise TrainingError(
                f"{self.folder} holds a run of another recipe or other rows. Name another "
                "folder, or remove it."
            )
        self.encoder.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._done = state["step"]
        if self._done == self.recipe.steps:
            self._keep()


def schedule(step: int, recipe: Recipe) -> float:
    """Share of the learning rate: a linear rise over `warm_up`, then a cosine down to zero."""
    rise = max(1, round(recipe.warm_up * recipe.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, recipe.steps - rise)))


def _shared_texts(skills: Sequence[TrainingSkill]) -> dict[str, Rows]:
    """Queries that several skills answer, with those."""
    owners: dict[str, list[int]] = {}
    for row, skill in enumerate(skills):
        for text in {text for texts in skill.queries.values() for text in texts}:
            owners.setdefault(text, []).append(row)
    return {text: np.array(rows) for text, rows in owners.items() if len(rows) > 1}
