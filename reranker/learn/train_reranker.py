"""Train the reranker on lists: the right skill must stand above what the first stage confuses.

The loss is the cross-entropy of the right skill among its list and one more choice of logit 0,
"none of these" (ListNet's top-one probability, Cao et al. 2007, with a null candidate). So logits
of different tasks can be compared, and one above 0 says that the skill is rather right than not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.openvino_model import TOKENIZER_FILE
from reranker.batcher import token_batches
from reranker.cross_encoder import padded
from reranker.learn.lists import CandidateList, Lists
from reranker.learn.run import CHECKPOINT, Figures, RunRecipe, TrainingRun
from reranker.pairs import Document, Pair, PairTokenizer, Windows

SCALE = 40.0
"""Where the logit's steepness starts: right and wrong skills of a list differ by .13 in cosine."""

CALIBRATED_ON = 5  # steps whose lists say where the tokens' centre and the logit's zero begin

BATCH_TOKENS = 1_024  # of pairs of similar length that are scored together


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(RunRecipe):
    """Everything that shapes the reranker's weights."""

    steps: int = 1_600
    learning_rate: float = 3e-5
    lists: int = 8  # of a step
    size: int = 8  # skills of a list
    layers: int = 6
    apart: int = 6  # of those, the lower ones in which task and skill do not see each other
    none: float = 0.1  # share of lists without their right skill
    listwise: bool = True  # or each pair by itself
    windows: Windows = field(default_factory=Windows)


class PairScorer(torch.nn.Module):
    """A transformer over both texts, apart in its lower layers and together in the rest.

    The logit is late interaction (ColBERT, Khattab and Zaharia 2020): each of the task's words
    looks for its nearest word of the skill, and their cosines are averaged, a word weighing as much
    as the model makes of it. A fresh head over [CLS] was still at chance after 50 steps; this one
    starts, over an encoder's layers, at what that knows.

    In the lower layers each side attends to itself only (DeFormer, Cao et al. 2020), with positions
    of its own.
    """

    def __init__(self, transformer: Any, apart: int, markers: Sequence[int]) -> None:
        """`apart` layers see either side by itself; tokens of `markers` are no words."""
        super().__init__()
        self.embeddings = transformer.embeddings
        self.layers = transformer.encoder.layer
        self.apart = apart
        self.markers = tuple(markers)
        width = transformer.config.hidden_size
        self.scale = torch.nn.Parameter(torch.tensor(SCALE))
        self.offset = torch.nn.Parameter(torch.tensor(0.0))
        self.centre = torch.nn.Parameter(torch.zeros(width))
        self.importance = torch.nn.Linear(width, 1, bias=False)
        torch.nn.init.zeros_(self.importance.weight)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, document: Tensor) -> Tensor:
        """Shapes (pairs, tokens) in, (pairs,) out; `document` is 1 for its tokens, else 0."""
        hidden = self.hidden(input_ids, attention_mask, document).float()
        words = attention_mask.bool()
        for marker in self.markers:
            words = words & (input_ids != marker)
        asked, said = words & ~document.bool(), words & document.bool()
        vectors = functional.normalize(hidden - self.centre, dim=-1)
        cosines = vectors @ vectors.transpose(1, 2)
        nearest = cosines.masked_fill(~said[:, None, :], -1.0).amax(dim=-1)
        weight = torch.exp(self.importance(vectors)[..., 0]) * asked
        found = (nearest * weight).sum(dim=-1) / weight.sum(dim=-1).clamp(min=1e-6)
        return self.scale * (found - self.offset)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, document: Tensor) -> Tensor:
        """What the layers make of each token, shape (pairs, tokens, width)."""
        task = attention_mask - document
        # Positions start anew with the document; those of padding are never looked at.
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        positions = positions - document * task.sum(1, keepdim=True)
        hidden: Tensor = self.embeddings(input_ids=input_ids, position_ids=positions)
        own = document[:, :, None] == document[:, None, :]
        seen = attention_mask[:, None, :].bool()
        whole, half = _additive(seen.expand_as(own)), _additive(seen & own)
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, half if number < self.apart else whole)
        return hidden


def _additive(seen: Tensor) -> Tensor:
    """What is added to attention scores, shape (pairs, 1, tokens, tokens).

    In their own precision: a fp32 mask turns the whole softmax to fp32, and 1.9 s a step to 2.7.
    """
    kind = seen.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    added = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return added.masked_fill(~seen, -1e4)[:, None]


class CrossEncoderModel:
    """A pair scorer and its tokenizer."""

    def __init__(
        self,
        source: Path,
        device: str,
        recipe: Recipe,
        precision: torch.dtype = torch.bfloat16,
    ) -> None:
        """`source` is a BERT encoder's folder; `recipe.layers` of its layers stay."""
        from transformers import AutoModel

        self.source = source
        self.device = device
        self.windows = recipe.windows
        self.precision = precision  # of the matrix products; the weights stay fp32
        self.tokenizer = PairTokenizer(source / TOKENIZER_FILE, recipe.windows)
        transformer: Any = AutoModel.from_pretrained(
            source, attn_implementation="eager", add_pooling_layer=False
        )
        stack = transformer.encoder
        kept = np.linspace(0, len(stack.layer) - 1, recipe.layers).round().astype(int)
        stack.layer = torch.nn.ModuleList([stack.layer[place] for place in kept])
        transformer.embeddings.word_embeddings.requires_grad_(False)
        markers = self.tokenizer.markers
        self.model = PairScorer(transformer, recipe.apart, markers).eval().to(device)

    @property
    def layers(self) -> int:
        """How many the transformer has."""
        return len(self.model.layers)

    def logits(self, pairs: Sequence[Pair]) -> Tensor:
        """Shape (pairs,), with gradients where those are on."""
        found, order = [], []
        with torch.autocast(
            self.device, self.precision, enabled=self.precision is not torch.float32
        ):
            for batch in token_batches([len(pair) for pair in pairs], BATCH_TOKENS):
                found.append(self.model(**self._inputs([pairs[row] for row in batch])).float())
                order += batch
        return torch.cat(found)[torch.from_numpy(np.argsort(order)).to(self.device)]

    def mean_token(self, pairs: Sequence[Pair]) -> Tensor:
        """The mean of what the layers make of every token, shape (width,)."""
        total, count = torch.zeros_like(self.model.centre), 0
        with torch.inference_mode():
            for batch in token_batches([len(pair) for pair in pairs], BATCH_TOKENS):
                inputs = self._inputs([pairs[row] for row in batch])
                hidden = self.model.hidden(**inputs)[inputs["attention_mask"].bool()]
                total, count = total + hidden.float().sum(0), count + len(hidden)
        return (total / max(count, 1)).clone()

    def _inputs(self, pairs: Sequence[Pair]) -> dict[str, Tensor]:
        return {
            name: torch.from_numpy(held).to(self.device) for name, held in padded(pairs).items()
        }

    def score(self, task: str, documents: Sequence[Document]) -> list[float]:
        """The logits without gradients, as a reranker gives them."""
        with torch.inference_mode():
            pairs = [self.tokenizer.pair(task, document) for document in documents]
            found: list[float] = self.logits(pairs).tolist()
            return found


def list_loss(logits: Tensor, right: int) -> Tensor:
    """-log of the right ones' softmax among the wrong ones and none; their mean.

    `logits` has shape (skills,), the right ones first; without any, none must win.
    """
    nothing = logits.new_zeros(1)
    wrong = torch.cat([logits[right:], nothing])
    if not right:
        return -functional.log_softmax(wrong, dim=0)[-1]
    rows = torch.cat([logits[:right, None], wrong.expand(right, -1)], dim=1)
    return functional.cross_entropy(rows, torch.zeros(right, dtype=torch.long, device=rows.device))


def pair_loss(logits: Tensor, right: int) -> Tensor:
    """Binary cross-entropy of each pair by itself, right ones weighing as much as wrong ones."""
    target = torch.zeros_like(logits)
    target[:right] = 1.0
    weight = torch.ones_like(logits)
    if right:
        weight[:right] = (len(logits) - right) / right
    return functional.binary_cross_entropy_with_logits(logits, target, weight)


Score = Callable[[str, Sequence[Document]], list[float]]
Measure = Callable[[Score], Figures]


class RerankerTraining(TrainingRun):
    """A run over lists of candidates."""

    def __init__(
        self,
        model: CrossEncoderModel,
        lists: Lists,
        recipe: Recipe,
        folder: Path,
        measure: Measure,
    ) -> None:
        """Raises TrainingError where the folder holds a run of another recipe or other rows."""
        self.scorer = model
        self._lists = lists
        self._list_recipe = recipe
        self._measure = measure
        self._threads = torch.get_num_threads()
        rows = {"rows": len(lists.skills), "questions": len(lists)}
        if not (folder / CHECKPOINT).is_file():
            self._calibrate()
        super().__init__(model.model, recipe, folder, rows)

    def loss(self, step: int) -> Tensor:
        """The mean of the lists' losses."""
        drawn = self._drawn(step)
        logits = self.scorer.logits(self._pairs(drawn)).split([len(each.rows) for each in drawn])
        loss = list_loss if self._list_recipe.listwise else pair_loss
        losses = [loss(found, each.right) for found, each in zip(logits, drawn, strict=True)]
        return torch.stack(losses).mean()

    def _drawn(self, step: int) -> list[CandidateList]:
        recipe = self._list_recipe
        drawn = self._lists.draw(step, recipe.lists, recipe.size, recipe.none, recipe.seed)
        # FAISS and torch share one OpenMP: the scan's single thread would stay torch's too.
        torch.set_num_threads(self._threads)
        return drawn

    def _pairs(self, lists: Sequence[CandidateList]) -> list[Pair]:
        return [
            self.scorer.tokenizer.pair(each.question.text, self._lists.skills[row].document)
            for each in lists
            for row in each.rows
        ]

    def _calibrate(self) -> None:
        """Put the tokens' centre where they are, and the logit's zero above most wrong skills."""
        scorer, drawn = self.scorer.model, [self._drawn(step) for step in range(CALIBRATED_ON)]
        lists = [each for of_step in drawn for each in of_step]
        scorer.centre.data = self.scorer.mean_token(self._pairs(lists))
        with torch.inference_mode():
            logits = self.scorer.logits(self._pairs(lists)).split([len(e.rows) for e in lists])
        wrong = torch.cat([found[each.right :] for found, each in zip(logits, lists, strict=True)])
        # A logit of 0 is where one of seven wrong skills of a list would be believed.
        scorer.offset.data = torch.quantile(wrong, 0.85) / scorer.scale.data

    def measure(self) -> Figures:
        """What the caller measures of scores."""
        return self._measure(self.scorer.score)
