"""A backbone under other ids: each piece keeps its rows, so that what it answers stays."""

import pathlib
import shutil

import numpy as np
from safetensors.numpy import load_file, save_file
from sentencepiece import sentencepiece_model_pb2 as protos

EMBEDDING, LOGITS = "token_embedder/embedding", "decoder/logits_dense/kernel"


def write(source: pathlib.Path, folder: pathlib.Path, one: int, other: int) -> str:
    """Copies a backbone folder with two ids exchanged, in weights and vocabulary; its path."""
    shutil.copytree(source, folder)
    model = protos.ModelProto.FromString((source / "spiece.model").read_bytes())
    first, second = model.pieces[one].SerializeToString(), model.pieces[other].SerializeToString()
    model.pieces[one].ParseFromString(second)
    model.pieces[other].ParseFromString(first)
    (folder / "spiece.model").write_bytes(model.SerializeToString())
    tensors = load_file(source / "model.safetensors")
    order = np.arange(tensors[EMBEDDING].shape[0])
    order[[one, other]] = other, one
    tensors[EMBEDDING] = tensors[EMBEDDING][order]
    tensors[LOGITS] = np.ascontiguousarray(tensors[LOGITS][:, order])
    save_file(tensors, folder / "model.safetensors")
    return str(folder)
