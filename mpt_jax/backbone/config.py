"""The sizes and switches of a T5 backbone, checked where they enter the program."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from mpt_jax import checksums, files
from mpt_jax.errors import UserError, did_you_mean

ACTIVATIONS = ("relu", "gelu", "silu", "linear")
ATTENTIONS = ("auto", "fused", "dense")
DTYPES = ("float32", "bfloat16")
_LARGEST = 2**31 - 1  # what an index can hold

_COUNTS = (
    "vocab_size",
    "emb_dim",
    "num_heads",
    "head_dim",
    "mlp_dim",
    "num_encoder_layers",
    "num_decoder_layers",
    "relpos_max_distance",
)


@dataclasses.dataclass(frozen=True)
class T5Config:
    """Hyperparameters of a T5 backbone, named as in T5X.

    v1.0 is `mlp_activations=("relu",)` with `logits_via_embedding=True`; v1.1 is
    `("gelu", "linear")` (a gated GELU) with `logits_via_embedding=False`. mT5 and ByT5 are v1.1,
    umT5 is v1.1 with `relpos_bias_per_layer`, UL2 is v1.1 with `("silu", "linear")`.

    Attributes:
        vocab_size: rows of the embedding, V; the vocabulary padded to a multiple of 128.
        emb_dim: width D.
        num_heads: attention heads H.
        head_dim: width of one head; H * head_dim need not be D.
        mlp_dim: width of the feed-forward layer.
        mlp_activations: one per input projection; their outputs are multiplied.
        logits_via_embedding: the embedding doubles as output projection (v1.0).
        dropout_rate: of every dropout, active only where a call enables it.
        dtype: of the computation. Parameters, layer norm statistics, softmax and logits
            are float32 in any case.
        attention: "dense" holds all scores in memory; "fused" is a kernel that does not, for TPUs
            and a position bias that is not trained, and an error elsewhere; "auto" is "fused"
            where that can run, and on a CPU dense, one example at a time where they are large.
        relpos_buckets: buckets of the relative position bias.
        relpos_max_distance: distances from here on share the last bucket.
        relpos_bias_per_layer: each layer has a relative position bias of its own (umT5); else one
            serves all layers of a stack.
        remat: recompute each layer in the backward pass instead of keeping its activations.
        scan_layers: compile one layer and loop over its stacked parameters: compile time does not
            grow with depth, but a step may be slower (on CPU it is).
        layer_norm_epsilon: added to the mean square before its root.
        eos_id: the id that ends a text; None: what the vocabulary says.

    Raises:
        UserError: a value out of range, named.
    """

    vocab_size: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    num_encoder_layers: int
    num_decoder_layers: int
    mlp_activations: tuple[str, ...] = ("relu",)
    logits_via_embedding: bool = True
    dropout_rate: float = 0.0
    dtype: str = "float32"
    attention: str = "auto"
    relpos_buckets: int = 32
    relpos_max_distance: int = 128
    relpos_bias_per_layer: bool = False
    remat: bool = False
    scan_layers: bool = False
    layer_norm_epsilon: float = 1e-6
    eos_id: int | None = None

    def __post_init__(self) -> None:
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        _check_activations(self.mlp_activations)
        # Lists come from gin and JSON; a hashable tuple is what Flax modules need.
        object.__setattr__(self, "mlp_activations", tuple(self.mlp_activations))
        if self.dtype not in DTYPES:
            raise UserError(f"T5Config.dtype must be one of {DTYPES}, got {self.dtype!r}.")
        if self.attention not in ATTENTIONS:
            raise UserError(
                f"T5Config.attention must be one of {ATTENTIONS}, got {self.attention!r}."
            )
        if not (_is_real(self.dropout_rate) and 0.0 <= self.dropout_rate < 1.0):
            raise UserError(f"T5Config.dropout_rate must be in [0, 1), got {self.dropout_rate!r}.")
        if not (_is_real(self.layer_norm_epsilon) and 0.0 < self.layer_norm_epsilon < 1.0):
            raise UserError(
                f"T5Config.layer_norm_epsilon must be in (0, 1), got {self.layer_norm_epsilon!r}."
            )
        _check_buckets(self.relpos_buckets, self.relpos_max_distance)
        if self.eos_id is not None:
            _check_count("eos_id", self.eos_id)  # 0 is padding
            if self.eos_id >= self.vocab_size:
                raise UserError(
                    f"T5Config.eos_id must be below vocab_size = {self.vocab_size}, got "
                    f"{self.eos_id}."
                )

    @property
    def arithmetic(self) -> dict[str, Any]:
        """What the weights' shapes do not tell and their numbers are computed with; as in JSON."""
        return {
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "logits_via_embedding": self.logits_via_embedding,
            "mlp_activations": list(self.mlp_activations),
            "relpos_max_distance": self.relpos_max_distance,
        }

    def to_json(self) -> str:
        """The configuration as one JSON object with a checksum, read back by `from_json`."""
        return json.dumps(checksums.sealed(dataclasses.asdict(self)), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "T5Config":
        """Reads what `to_json` wrote.

        Raises:
            UserError: not a JSON object, a field that is missing or unknown, or another checksum.
        """
        values = files.parse_json(text, "The backbone configuration")
        if not isinstance(values, dict):
            raise UserError("The backbone configuration must be a JSON object of T5Config fields.")
        return cls.from_fields(checksums.unsealed("The backbone configuration", values))

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> "T5Config":
        """The configuration with these fields, all that have no default among them.

        Raises:
            UserError: a field that is missing or unknown.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                raise UserError(f"T5Config has no field {name!r}.{did_you_mean(name, fields)}")
        missing = [
            name
            for name, field in fields.items()
            if field.default is dataclasses.MISSING and name not in values
        ]
        if missing:
            raise UserError(f"The backbone configuration lacks {', '.join(missing)}.")
        return cls(**values)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        raise UserError(
            f"T5Config.{name} must be a positive integer, got {value!r}; at most {_LARGEST:,}."
        )


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_activations(names: object) -> None:
    if not isinstance(names, (tuple, list)) or not names:
        raise UserError(
            "T5Config.mlp_activations must be a non-empty list, as ('gelu', 'linear'); "
            f"got {names!r}."
        )
    for name in names:
        if name not in ACTIVATIONS:
            raise UserError(
                f"T5Config.mlp_activations holds {name!r}; known: {', '.join(ACTIVATIONS)}."
                f"{did_you_mean(str(name), ACTIVATIONS)}"
            )


def _check_buckets(buckets: object, max_distance: int) -> None:
    if not isinstance(buckets, int) or not 4 <= buckets <= _LARGEST or buckets % 4:
        raise UserError(
            f"T5Config.relpos_buckets must be a positive multiple of 4, got {buckets!r}."
        )
    if max_distance <= buckets // 2:
        raise UserError(
            f"T5Config.relpos_max_distance must exceed relpos_buckets / 2 = {buckets // 2}, "
            f"got {max_distance}."
        )
