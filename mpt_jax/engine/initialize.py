"""Where a run's parameters come from: backbone from a checkpoint, the method's part on top."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
from flax import traverse_util

from mpt_jax import distillation, initializers
from mpt_jax.backbone import store
from mpt_jax.backbone.formats import backbones
from mpt_jax.configuration import backbone_path
from mpt_jax.engine import kept
from mpt_jax.engine.optimizers import FROZEN
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class RestoreCheckpointConfig:
    """What a run starts from: the backbone's checkpoint.

    Attributes:
        path: the backbone's checkpoint, or "mini", the one that ships; None: random weights, for a
            method that trains all.
        mode: "specific" (`path` is the checkpoint itself), the only one of T5X's that is read.
        dtype: of the restored parameters that are frozen, "float32" or "bfloat16"; those that
            train are float32, read without being rounded.
    """

    path: str | None
    mode: str = "specific"
    dtype: str = "float32"

    def __post_init__(self):
        if self.mode != "specific":
            raise UserError(
                f"utils.RestoreCheckpointConfig.mode must be 'specific', got {self.mode!r}: give"
                " the folder of the checkpoint itself as path."
            )
        if self.dtype not in ("float32", "bfloat16"):
            raise UserError(
                "utils.RestoreCheckpointConfig.dtype must be 'float32' or 'bfloat16', got"
                f" {self.dtype!r}."
            )


def check_backbone_is_there(model: Any, restore: RestoreCheckpointConfig | None) -> None:
    """Refuse a missing backbone before any data is read or any phase has run.

    Raises:
        UserError: no backbone given to a method that needs one, or nothing at its path.
    """
    if restore is not None and restore.path:
        backbone_path.check(restore.path)
    elif model.method.needs_backbone:
        raise UserError(
            "this method tunes a frozen backbone, but INITIAL_CHECKPOINT_PATH is not set: give "
            '--gin.INITIAL_CHECKPOINT_PATH="FOLDER".'
        )


def batch_shapes(batch_size: int, lengths: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Global shapes of an uncut batch, all int32: tokens [B, T] and [B, S], task ids [B]."""
    inputs, targets = (batch_size, lengths["inputs"]), (batch_size, lengths["targets"])
    return {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": targets,
        "decoder_target_tokens": targets,
        "decoder_loss_weights": targets,
        "task_ids": (batch_size,),
    }


def param_shapes(
    model: Any,
    partitioner: PjitPartitioner,
    restore: RestoreCheckpointConfig | None,
    input_shapes: Mapping[str, tuple[int, ...]],
) -> dict:
    """What `initial_params` will give, without making or reading it; arguments as there.

    Returns:
        nested dict of `jax.ShapeDtypeStruct` with a sharding.

    Raises:
        UserError: a parameter that its mesh axis does not divide.
    """
    init = functools.partial(model.get_initial_variables, input_shapes=dict(input_shapes))
    shapes = jax.eval_shape(lambda key: init(key)["params"], jax.random.key(0))
    shardings = partitioner.sharding(model.param_axes(shapes), shapes)
    dtype = None if restore is None else restore.dtype

    def one(leaf: Any, label: str, sharding: Any, tree: str) -> jax.ShapeDtypeStruct:
        # A step of 3e-4 is lost in bfloat16's eight bits, so what trains keeps its own dtype.
        rounded = dtype and label == FROZEN and tree in store.BACKBONE_TREES
        return jax.ShapeDtypeStruct(leaf.shape, dtype if rounded else leaf.dtype, sharding=sharding)

    labels = model.param_labels(shapes)
    return {
        tree: jax.tree.map(
            functools.partial(one, tree=tree), shapes[tree], labels[tree], shardings[tree]
        )
        for tree in shapes
    }


def initial_params(
    model: Any,
    partitioner: PjitPartitioner,
    restore: RestoreCheckpointConfig | None,
    input_shapes: Mapping[str, tuple[int, ...]],
    rng: jax.Array,
) -> dict:
    """All parameters of a run before its first step, laid out on the mesh.

    1. The backbone: read from `restore.path`; random weights where there is no path and the
       method trains from scratch.
    2. What the method adds (`start`): prompt bank, teachers.

    Args:
        model: the model protocol.
        partitioner: gives the shardings.
        restore: where the backbone is (`check_backbone_is_there`).
        input_shapes: feature name -> global shape, to trace the network with.
        rng: PRNG key of the run.

    Returns:
        nested dict of global arrays.

    Raises:
        UserError: the backbone does not fit.
    """
    init_rng, start_rng = jax.random.split(rng)
    loaded = backbone(model, partitioner, restore, input_shapes, init_rng)
    return start_on_mesh(model, partitioner, loaded, start_rng)


def backbone(
    model: Any,
    partitioner: PjitPartitioner,
    restore: RestoreCheckpointConfig | None,
    input_shapes: Mapping[str, tuple[int, ...]],
    rng: jax.Array,
) -> dict:
    """The first part of `initial_params`, whose arguments it has; `rng` is of random weights.

    One that is frozen is kept for the next run (`kept`).
    """
    shapes = param_shapes(model, partitioner, restore, input_shapes)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    if restore is not None and restore.path:
        load = functools.partial(load_backbone, restore.path, shapes, shardings)
        key = functools.partial(_identity_if_frozen, model, restore.path, shapes)
        return kept.once("backbone", key, load, most=1)  # there may be no room for two
    init = functools.partial(model.get_initial_variables, input_shapes=dict(input_shapes))
    return jax.jit(lambda key: init(key)["params"], out_shardings=shardings)(rng)


def _identity_if_frozen(model: Any, path: str, shapes: Mapping) -> tuple | None:
    """What decides what is loaded; None where it trains, and a step would write over it."""
    labels = model.param_labels(shapes)
    trees = [(tree, shapes[tree], labels[tree]) for tree in store.BACKBONE_TREES]
    if any(label != FROZEN for *_, of_tree in trees for label in jax.tree.leaves(of_tree)):
        return None
    leaves = [
        (tree, *name, leaf.shape, leaf.dtype.name, leaf.sharding)
        for tree, of_tree, _ in trees
        for name, leaf in traverse_util.flatten_dict(of_tree).items()
    ]
    return (*backbone_path.stamp(path), *leaves)


def start_on_mesh(
    model: Any, partitioner: PjitPartitioner, params: Mapping, rng: jax.Array
) -> dict:
    """`start`, the second part of `initial_params`, laid out on the mesh.

    What lies there already is the same array afterwards, for all runs that share it.
    """
    started = start(model, params, rng)
    flat, before = traverse_util.flatten_dict(started), traverse_util.flatten_dict(params)
    kept = {path for path, leaf in flat.items() if before.get(path) is leaf}
    axes = traverse_util.flatten_dict(model.param_axes(started))
    added = {path: leaf for path, leaf in flat.items() if path not in kept}
    placed = partitioner.place(
        traverse_util.unflatten_dict(added),
        traverse_util.unflatten_dict({path: axes[path] for path in added}),
    )
    flat.update(traverse_util.flatten_dict(placed))
    return traverse_util.unflatten_dict(flat)


def load_backbone(path: str, shapes: Mapping, shardings: Mapping) -> dict:
    """Read the backbone's parameters, in any format (see `formats.backbones`).

    Args:
        path: INITIAL_CHECKPOINT_PATH.
        shapes, shardings: trees over all parameters of a model; only the backbone is read, each
            leaf in the dtype that `shapes` states.
    """
    trees = store.BACKBONE_TREES
    return backbones.load(path, {t: shapes[t] for t in trees}, {t: shardings[t] for t in trees})


def start(model: Any, params: Mapping, rng: jax.Array) -> dict:
    """Put what a model's method adds next to or into a loaded backbone (host side).

    Args:
        model: the model protocol, e.g. `models.EncoderDecoderModel`.
        params: nested dict with the backbone's parameters.
        rng: PRNG key.

    Raises:
        UserError: source or teacher prompts that are missing or of another backbone.
    """
    backbone = {name: params[name] for name in store.BACKBONE_TREES}
    identity = store.identify(params, model.method.tuned_backbone)
    context = initializers.Context(
        embedding=params["token_embedder"]["embedding"],
        vocabulary=model.input_vocabulary,
        tasks=model.tasks,
        label_words={task: tuple(model.label_words.get(task, ())) for task in model.tasks},
        backbone=identity.fingerprint,
        backbone_shapes=backbone,
        backbone_bits=identity.bits,
        arithmetic=model.config.arithmetic,
    )
    added = dict(model.method.start(context, rng))
    if model.distillation is not None:
        added["teacher"] = distillation.load_teachers(model.distillation, context)
    leaves = {**traverse_util.flatten_dict(backbone), **traverse_util.flatten_dict(added)}
    return traverse_util.unflatten_dict(leaves)
