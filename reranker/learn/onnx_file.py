"""Writes a torch model as an ONNX file whose large weights are stored as fp16."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

# Below this many values a tensor (norms, biases) stays fp32: it saves nothing and costs accuracy.
SMALLEST_HALVED = 10_000


INPUTS = ("input_ids", "attention_mask")  # int64 of shape (texts, tokens), both free
OUTPUT = "embedding"


def write_onnx(model: torch.nn.Module, path: Path) -> None:
    """Write a model that takes INPUTS and gives OUTPUT.

    Half the file of fp32; cosine of embeddings to fp32 0.99998 (docs/decisions/0002).
    """
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.onnx"
        _export_graph(model, full)
        graph = onnx.load(str(full))
    _store_weights_as_half(graph)
    onnx.save(graph, str(path))


def _export_graph(model: torch.nn.Module, path: Path) -> None:
    ids = torch.ones((2, 16), dtype=torch.long)
    sizes: Any = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=512)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            tuple(ids.clone() for _ in INPUTS),
            str(path),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=dict.fromkeys(INPUTS, sizes),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _store_weights_as_half(model: onnx.ModelProto) -> None:
    """Keep large weights as fp16 behind a Cast."""
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
