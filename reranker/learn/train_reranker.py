"""Train the reranker: a question's skill must stand above its neighbours, and above none of them.

Each step takes the skills of a batch of neighbours with questions of theirs, as the encoder's does,
and scores every question against every skill by late interaction. The loss is listwise: the
cross-entropy of the right skill among those of the batch and one more choice of logit 0, "none of
these" (ListNet's top-one probability, Cao et al. 2007, with a null candidate). So logits of
different tasks can be compared, and one above 0 says that the skill is rather right than not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.openvino_model import TOKENIZER_FILE, padded
from core.retrieval.lexical import analyse
from reranker.batcher import token_batches
from reranker.learn.batches import Drawn, Material, Rows, batches
from reranker.learn.examples import OWN, Source, TrainingSkill, masked
from reranker.learn.questions import Answers, drawn, hidden_parts
from reranker.learn.run import Figures, RunRecipe, TrainingError, TrainingRun
from reranker.pairs import (
    Document,
    TextTokenizer,
    Windows,
    matched_passage,
    pair_text,
    routing_line,
)

SCALE = 40.0
"""Of the logit: right and wrong neighbours differ by .13 in similarity before any training."""

BATCH_TOKENS = 1_024  # of texts of similar length that are read together

CALIBRATED_ON = 1_000_000  # batch that says where centre and zero are; no step comes so far

LEFT_OUT = -1e4  # added to attention, or put as a logit: as good as not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(RunRecipe):
    """Everything that shapes the reranker's weights."""

    steps: int = 200
    learning_rate: float = 1e-4
    skills: int = 64  # of a batch
    questions: int = 2  # of each skill at most
    layers: int = 6
    mask: float = 0.25  # share of skills whose name is hidden from questions that people wrote
    none: float = 0.1  # share of questions whose right skill is left out
    listwise: bool = True  # or each pair by itself
    windows: Windows = field(default_factory=Windows)


class WordVectors(torch.nn.Module):
    """A transformer whose output is each token's direction, as long as it weighs in a task."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.embeddings = transformer.embeddings
        self.layers = transformer.encoder.layer
        width = transformer.config.hidden_size
        self.centre = torch.nn.Parameter(torch.zeros(width))
        self.importance = torch.nn.Linear(width, 1, bias=False)
        torch.nn.init.zeros_(self.importance.weight)
        self.register_buffer("offset", torch.tensor(0.0))  # similarity of a logit of 0

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Shape (texts, tokens) of both; (texts, tokens, width) out."""
        hidden = self.hidden(input_ids, attention_mask)
        directions = functional.normalize(hidden - self.centre, dim=-1)
        return directions * torch.exp(self.importance(directions))

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the layers make of each token, shape (texts, tokens, width)."""
        hidden: Tensor = self.embeddings(input_ids=input_ids)
        added = _additive(attention_mask)
        for layer in self.layers:
            hidden = layer(hidden, added)
        return hidden.float()


def _additive(mask: Tensor) -> Tensor:
    """What is added to attention scores, shape (texts, 1, 1, tokens).

    In their own precision: a fp32 mask turns the whole softmax to fp32, and 1.9 s a step to 2.7.
    """
    kind = mask.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    added = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return added.masked_fill(mask == 0, LEFT_OUT)[:, None, None]


class LateInteraction:
    """Word vectors, their tokenizer, and the logit that they make of a task and a skill."""

    def __init__(
        self,
        source: Path,
        device: str,
        recipe: Recipe,
        precision: torch.dtype = torch.bfloat16,
    ) -> None:
        """`source` is a BERT encoder's folder; `recipe.layers` of its layers stay.

        Raises TrainingError where it has fewer.
        """
        from transformers import AutoModel

        self.source = source
        self.device = device
        self.windows = recipe.windows
        self.precision = precision  # of the matrix products; the weights stay fp32
        self.tokenizer = TextTokenizer(source / TOKENIZER_FILE, recipe.windows)
        transformer: Any = AutoModel.from_pretrained(
            source, attn_implementation="eager", add_pooling_layer=False
        )
        stack = transformer.encoder
        if recipe.layers > len(stack.layer):
            raise TrainingError(f"{source} has {len(stack.layer)} layers, not {recipe.layers}.")
        kept = np.linspace(0, len(stack.layer) - 1, recipe.layers).round().astype(int)
        stack.layer = torch.nn.ModuleList([stack.layer[place] for place in kept])
        transformer.embeddings.word_embeddings.requires_grad_(False)
        self.model = WordVectors(transformer).eval().to(device)

    @property
    def layers(self) -> int:
        """How many the transformer has."""
        return len(self.model.layers)

    def words(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Of each text its words' vectors, shape (words, width), markers left out."""
        found: dict[int, Tensor] = {}
        for batch in token_batches([len(ids) for ids in texts], BATCH_TOKENS):
            with self._halved():
                vectors = self.model(*self._padded([texts[number] for number in batch]))
            for row, number in enumerate(batch):
                found[number] = vectors[row][self.tokenizer.words(texts[number])]
        return [found[number] for number in range(len(texts))]

    def mean_token(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """The mean of what the layers make of every token, shape (width,)."""
        with torch.inference_mode():
            every = [self.model.hidden(*self._padded([ids]))[0] for ids in texts]
        return torch.cat(every).mean(0).clone()

    def logits(self, tasks: Sequence[Tensor], documents: Sequence[Tensor]) -> Tensor:
        """Shape (tasks, documents), of their words as `words` gives them; each has one at least.

        The training's own form of `reranker.late_interaction.similarities`.
        """
        said = _stacked([functional.normalize(words, dim=-1) for words in documents])
        absent = _stacked([words.new_zeros(len(words)) for words in documents], fill=-2.0)
        asked = functional.normalize(torch.cat(list(tasks)), dim=-1)
        with self._halved():
            nearest = torch.cat([self._nearest(part, said, absent) for part in asked.split(512)])
        lengths = [words.norm(dim=-1) for words in tasks]
        weights = torch.block_diag(*[(each / each.sum())[None] for each in lengths])
        return SCALE * (weights @ nearest.float() - self.model.offset)

    def _nearest(self, asked: Tensor, said: Tensor, absent: Tensor) -> Tensor:
        """Shape (words asked, documents): the cosine of each document's nearest word."""
        cosines = asked @ said.reshape(-1, said.shape[-1]).T
        shaped = cosines.view(len(asked), *absent.shape)
        return (shaped + absent.to(cosines)).amax(dim=-1)

    def score(self, task: str, documents: Sequence[Document]) -> list[float]:
        """The logits without gradients, as a reranker gives them."""
        texts = [self.tokenizer.document(*pair_text(task, document)) for document in documents]
        with torch.inference_mode():
            asked, *said = self.words([self.tokenizer.task(task), *texts])
            found: list[float] = self.logits([asked], said)[0].tolist()
            return found

    def _halved(self) -> torch.autocast:
        halved = self.precision is not torch.float32
        return torch.autocast(self.device, self.precision, enabled=halved)

    def _padded(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        return [torch.from_numpy(held).to(self.device) for held in padded(texts).values()]


def _stacked(parts: Sequence[Tensor], fill: float = 0.0) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Texts of one step: `owner` says which of the documents each question asks for."""

    rows: Rows
    documents: Sequence[tuple[str, str]]  # routing line and passage
    questions: Sequence[str]
    owner: Rows


ASKED = frozenset(Source) - {Source.DESCRIPTION}  # which every document shows


def compose(
    batch: Drawn, skills: Sequence[TrainingSkill], recipe: Recipe, generator: np.random.Generator
) -> Batch:
    """Draw questions for the skills of a batch, and what each shows.

    A skill shows the passage that matches the first question of the skill that opened its knot: so
    for that question the neighbours were searched for its words too, as they are when it is asked.
    """
    held = [skills[row] for row in batch.rows]
    asked = [drawn(skill, ASKED, recipe.questions, generator) for skill in held]
    documents, questions, owner = [], [], []
    for number, (skill, own) in enumerate(zip(held, asked, strict=True)):
        name, said = hidden_parts(skill, own, recipe.mask, generator)
        line = masked(routing_line(skill.document), name, said).lstrip(". ")
        searched = asked[batch.opener[number]]
        words = frozenset(analyse(searched[0][1])) if searched else frozenset()
        passage = masked(matched_passage(words, skill.document.body), name, said)
        documents.append((line, passage))
        questions += [masked(text, name) if source in OWN else text for source, text in own]
        owner += [number] * len(own)
    return Batch(
        rows=batch.rows,
        documents=documents,
        questions=questions,
        owner=np.array(owner, dtype=np.int64),
    )


def list_loss(logits: Tensor, right: Tensor, uncertain: Tensor) -> Tensor:
    """Mean of -log softmax of the right skill among the others and none, whose logit is 0.

    Shapes (questions, skills), (questions,) and (questions, skills); a `right` of the number of
    skills says that none is, `uncertain` pairs are neither right nor wrong.
    """
    nothing = logits.new_zeros(len(logits), 1)
    return functional.cross_entropy(
        torch.cat([logits.masked_fill(uncertain, LEFT_OUT), nothing], dim=1), right
    )


def pair_loss(logits: Tensor, right: Tensor, uncertain: Tensor) -> Tensor:
    """Binary cross-entropy of each pair by itself, right ones weighing as much as wrong ones."""
    target = functional.one_hot(right, logits.shape[1] + 1)[:, :-1].to(logits)
    known = (~uncertain).to(logits)
    wrong = ((1 - target) * known).sum() / target.sum().clamp(min=1)
    weight = known * (1 + target * (wrong - 1))
    losses = functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    return losses / weight.sum()


Score = Callable[[str, Sequence[Document]], list[float]]
Measure = Callable[[Score], Figures]


class RerankerTraining(TrainingRun):
    """A run over batches of neighbours, opened by the skills that people ask for."""

    def __init__(
        self,
        scorer: LateInteraction,
        material: Material,
        recipe: Recipe,
        folder: Path,
        measure: Measure,
    ) -> None:
        """Raises TrainingError where nobody asks for any of the skills, or where the folder holds
        a run of another recipe or other rows."""
        self.scorer = scorer
        self._skills = material.skills
        self._reranker_recipe = recipe
        self._measure = measure
        self._answers = Answers(material.skills, material.kinship)
        if not len(material.asked):
            raise TrainingError("No skill to train on is asked for by a question of people.")
        drawn_from = material.asked, recipe.skills, material.near, recipe.seed
        self._calibrate(next(batches(*drawn_from, CALIBRATED_ON)))
        sizes = {"rows": len(self._skills), "asked": len(material.asked), "start": _digest(scorer)}
        super().__init__(scorer.model, recipe, folder, sizes)
        self._drawn = batches(*drawn_from, self._done)

    def loss(self, step: int) -> Tensor:
        """The questions' mean loss over the next batch; steps come in order."""
        recipe = self._reranker_recipe
        generator = np.random.default_rng([recipe.seed, step, 1])
        batch = compose(next(self._drawn), self._skills, recipe, generator)
        uncertain = self._answers.uncertain(batch.rows, batch.questions, batch.owner)
        left_out = generator.random(len(batch.owner)) < recipe.none
        uncertain[left_out, batch.owner[left_out]] = True
        right = np.where(left_out, len(batch.rows), batch.owner)
        logits = self._logits(batch)
        loss = list_loss if recipe.listwise else pair_loss
        device = logits.device
        return loss(
            logits, torch.from_numpy(right).to(device), torch.from_numpy(uncertain).to(device)
        )

    def measure(self) -> Figures:
        """What the caller measures of scores."""
        return self._measure(self.scorer.score)

    def _texts(self, batch: Batch) -> list[list[int]]:
        tokenizer = self.scorer.tokenizer
        asked = [tokenizer.task(text) for text in batch.questions]
        return [*asked, *(tokenizer.document(*parts) for parts in batch.documents)]

    def _logits(self, batch: Batch) -> Tensor:
        words = self.scorer.words(self._texts(batch))
        asked = len(batch.questions)
        return self.scorer.logits(words[:asked], words[asked:])

    def _calibrate(self, drawn: Drawn) -> None:
        """Put the tokens' centre where they are, and the logit's zero above most wrong skills."""
        batch = compose(drawn, self._skills, self._reranker_recipe, np.random.default_rng(0))
        model = self.scorer.model
        model.centre.data = self.scorer.mean_token(self._texts(batch))
        with torch.inference_mode():
            highest = torch.quantile(self._logits(batch), 1 - 1 / len(batch.documents))
            model.offset += highest / SCALE


def _digest(scorer: LateInteraction) -> int:
    """Of the weights that a run starts from."""
    first = scorer.model.layers[0].output.dense.weight
    return crc32(first.detach().cpu().numpy().tobytes())
