"""The backbone at INITIAL_CHECKPOINT_PATH, in whatever format: weights, sizes, fingerprint.

mini                       the one that ships (`assets.backbone`)
FOLDER                     our own, or Hugging Face's (config.json has a model_type)
FOLDER/model.safetensors   the same, or the index of its shards
checkpoint_1000            T5X's, of either layout, on a disk or in a bucket (gs://)
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from mpt_jax import assets, files
from mpt_jax.backbone import fingerprints, network, store, weights
from mpt_jax.backbone.config import T5Config
from mpt_jax.backbone.formats import huggingface, sizes, vocabularies
from mpt_jax.backbone.weights import Weights
from mpt_jax.byte_vocabulary import Bytes
from mpt_jax.errors import UserError
from mpt_jax.vocabulary import SentencePiece

if TYPE_CHECKING:
    import seqio

# Pickles, which run code as they are read, and other formats that frameworks save.
_REFUSED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".pkl")

_FILES = (".safetensors", ".index.json")  # a path to one of these is to the folder around it


def open_weights(path: str) -> Weights:
    """The weights at `path`; only headers are read now.

    Raises:
        UserError: no backbone there, a broken one, or a format that is not read.
    """
    path = assets.backbone(os.fspath(path))
    if path.endswith(_REFUSED):
        raise _unsafe(path)
    if path.endswith(_FILES):
        return _open_safetensors(folder_of(path), path)
    for name in (store.WEIGHTS, huggingface.INDEX):
        if os.path.isfile(os.path.join(path, name)):
            return _open_safetensors(path, os.path.join(path, name))
    # Imported here: tensorstore is not for those who do not come from T5X.
    from mpt_jax.backbone.formats import t5x_checkpoint

    if (found := t5x_checkpoint.open_weights(path)) is not None:
        return found
    if "://" in path:
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH {path!r} is not a T5X checkpoint: only those are read from a "
            "bucket; copy other formats to a disk."
        )
    names = os.listdir(path) if os.path.isdir(path) else []
    for name in sorted(names):
        if name.endswith(_REFUSED):
            raise _unsafe(os.path.join(path, name))
    raise UserError(
        f"INITIAL_CHECKPOINT_PATH {path!r} is not a backbone folder: it has no {store.WEIGHTS}, no "
        f"{huggingface.INDEX} and no T5X checkpoint."
    )


def load(path: str, shapes: Mapping, shardings: Mapping) -> dict[str, Any]:
    """Reads the backbone at `path` onto the devices; see `weights.load`."""
    return weights.load(open_weights(path), shapes, shardings)


def config_of(path: str, **choices: Any) -> T5Config:
    """The sizes of the backbone at `path`.

    Read from config.json, Hugging Face's or ours, and held against the tensors; of a checkpoint
    of T5X, which states none, taken from the shapes of its arrays (see `sizes.config_of`).

    Args:
        path: INITIAL_CHECKPOINT_PATH.
        **choices: fields of `T5Config` that are not sizes: attention, dtype, dropout_rate, remat,
            scan_layers.

    Raises:
        UserError: no backbone there, or a config.json that is not of these tensors.
    """
    return sizes.config_of(open_weights(path), **choices)


def checked(found: Weights) -> T5Config:
    """The configuration of weights that are, tensor by tensor, those of a T5.

    Raises:
        UserError: a tensor is missing, extra or misshapen (named).
    """
    config = sizes.config_of(found)
    # One layer is traced, whatever the depth.
    module = network.Transformer(T5Config.from_fields({**vars(config), "scan_layers": True}))
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    shapes = jax.eval_shape(module.init, jax.random.key(0), tokens, tokens)["params"]
    weights.check(found, weights.tensor_shapes(store.flat_backbone(shapes)))
    return config


def vocabulary_of(path: str | None, spiece_model: str | None = None) -> "seqio.Vocabulary":
    """The vocabulary in the folder of the weights, with T5's sentinels if it lacks them.

    Args:
        path: INITIAL_CHECKPOINT_PATH; None only with a `spiece_model`.
        spiece_model: SPIECE_MODEL, another file to take in its place; "bytes" for ByT5's.

    Raises:
        UserError: there is none, one that does not fit the embedding, or not all of the tokens
            that the backbone was trained with.
    """
    return _vocabulary(path, spiece_model).of_seqio()


def tokenizer_of(path: str, spiece_model: str | None = None) -> SentencePiece | Bytes:
    """The same vocabulary, with no need of TensorFlow; not for SeqIO tasks.

    Arguments and errors are those of `vocabulary_of`.
    """
    return _vocabulary(path, spiece_model).tokenizer()


def identify(path: str) -> fingerprints.Identity:
    """`store.identify` for the backbone at `path`, as prompt files carry it.

    Raises:
        UserError: no whole backbone there, or values that are not finite.
    """
    found = open_weights(path)
    checked(found)
    return store.identify_weights(found)


def folder_of(path: str) -> str:
    """The folder of a backbone's path, which may name a file in it."""
    path = assets.backbone(path)
    return (os.path.dirname(path) or ".") if path.endswith(_FILES) else path


def _vocabulary(path: str | None, spiece_model: str | None) -> vocabularies.Vocabulary:
    if not path and not spiece_model:
        raise UserError("no backbone is named: give --gin.INITIAL_CHECKPOINT_PATH or SPIECE_MODEL.")
    if not path:
        return vocabularies.find(None, None, spiece_model)
    return vocabularies.find(folder_of(path), config_of(path).vocab_size, spiece_model)


def _open_safetensors(folder: str, file: str) -> Weights:
    """Ours or Hugging Face's, as its config.json says."""
    config = os.path.join(folder, store.CONFIG)
    values = files.read_json(config) if os.path.isfile(config) else {}
    if "model_type" in values:
        return huggingface.open_weights(folder, file, values)
    if file.endswith(".json"):
        raise UserError(f"{file} lists shards of Hugging Face's, but {config} has no model_type.")
    return store.open_weights(folder, file)


def _unsafe(file: str) -> UserError:
    return UserError(
        f"{file} is not read here, because pickles run code. If you trust it, save it as "
        'safetensors: python -c "import transformers as t; t.AutoModelForSeq2SeqLM'
        ".from_pretrained('FOLDER').save_pretrained('NEW_FOLDER')\"; add from_tf=True for .h5, "
        "from_flax=True for .msgpack (transformers 4)."
    )
