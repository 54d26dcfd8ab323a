"""Seconds per training step and per source step, against what the machine could do at best.

    python benchmarks/step.py --size=t5_small

The floor is counted FLOPs / measured matmul rate. A step of prompt tuning needs 2F (forward,
and backward through the activations; the frozen weights need no gradient), a source step 3F (one
more forward pass, the teacher's), F as `forward_flops` counts it. The steps measured are the
real ones: `engine.step` over `models.EncoderDecoderModel`, optimizer included.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import record
import seqio

from mpt_jax import process
from mpt_jax.backbone.config import T5Config
from mpt_jax.configuration import config as gin_config
from mpt_jax.distillation import Distillation
from mpt_jax.engine import optimizers
from mpt_jax.engine import step as step_lib
from mpt_jax.engine.partitioning import PjitPartitioner
from mpt_jax.methods.mpt import MPT
from mpt_jax.models import EncoderDecoderModel
from mpt_jax.plan.counting import forward_flops

TASKS = ("a", "b", "c", "d", "e", "f")


def sizes(name: str) -> T5Config:
    """The backbone of `gin/models/NAME.gin`; without dropout, weights and vocabulary."""
    unset = ["INITIAL_CHECKPOINT_PATH=None", *(["SPIECE_MODEL=None"] if name != "mini" else [])]
    gin_config.parse([f"gin/models/{name}.gin"], ["DROPOUT_RATE=0.0"], presets=unset)
    return gin_config.call("mpt_jax.backbone.config", "T5Config")


def main() -> None:
    process.tune()  # as the commands do
    args = parse_arguments()
    config = sizes(args.size)
    flops = args.batch * forward_flops(config, args.prompt + args.inputs, args.targets)
    devices = f"{args.size}, {config.dtype}, {jax.device_count()} x {jax.devices()[0].device_kind}"
    shape = (
        f"batch {args.batch}, inputs {args.inputs}, prompt {args.prompt}, targets {args.targets}"
    )
    print(f"{devices}:\n{shape}")
    common, rows = {"devices": devices, "shape": shape}, []

    if args.memory:
        for attention in ("dense", "auto"):
            chosen = dataclasses.replace(config, attention=attention)
            memory = compile_step(chosen, args).memory_analysis()
            megabytes = memory.temp_size_in_bytes / 1e6
            print(f"attention {attention}: temporaries {megabytes:.0f} MB")
            rows.append({**common, "attention": attention, "temporaries_mb": megabytes})
        record.write(args.csv, rows)
        return

    plain = prepare(config, args, None)
    source = prepare(config, args, Distillation(teacher_prompts=""))
    # Interleaved, so that a change of the machine's load or clock meets all three alike.
    products = {f"matmul {size}": matmul(size) for size in MATMUL_SIZES}
    best = fastest({**products, "training": plain, "source": source}, args.repeats)
    rate = max(2 * size**3 / best[f"matmul {size}"] for size in MATMUL_SIZES)
    print(f"matmul rate             {rate / 1e9:8.1f} GFLOP/s")
    rows.append({**common, "what": "matmul rate", "gflop_per_s": rate / 1e9})
    for name, passes in (("training", 2), ("source", 3)):
        counted, floor = passes * flops / 1e9, passes * flops / rate
        ratio = best[name] / floor
        print(
            f"{name + ' step':<15} {best[name]:8.4f} s   counted {counted:8.1f} "
            f"GFLOP, floor {floor:.4f} s, ratio to the floor {ratio:.2f}"
        )
        numbers = {"seconds": best[name], "gflop": counted, "floor_s": floor, "ratio": ratio}
        rows.append({**common, "what": f"{name} step", **numbers})
    relative = best["source"] / best["training"]
    print(f"source step / training step {relative:.2f}")
    rows.append({**common, "what": "source step / training step", "ratio": relative})
    record.write(args.csv, rows)
    if best["training"] < 2 * flops / rate:
        print("Faster than the floor: other programs slowed the matmul down; repeat when idle.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="t5_small", help="name of a file in gin/models")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--inputs", type=int, default=128, help="input tokens per example")
    parser.add_argument("--prompt", type=int, default=100, help="prompt length")
    parser.add_argument("--targets", type=int, default=8, help="target tokens per example")
    parser.add_argument("--memory", action="store_true", help="compile only, and print bytes")
    record.add_flag(parser)
    parser.add_argument("--repeats", type=int, default=10, help="the fastest of so many counts")
    return parser.parse_args()


def prepare(
    config: T5Config, args: argparse.Namespace, distillation: Distillation | None
) -> Callable[[], jax.Array]:
    """A function that runs one step of MPT on random weights and tokens, and returns its loss."""
    model, optimizer, partitioner, (state, *others) = inputs(config, args, distillation)
    step = step_lib.make_train_step(model, optimizer, partitioner)

    def run() -> jax.Array:
        nonlocal state
        state, metrics = step(state, *others)
        return metrics["loss"]

    return run


def compile_step(config: T5Config, args: argparse.Namespace) -> jax.stages.Compiled:
    """The training step, compiled and not run."""
    model, optimizer, partitioner, arguments = inputs(config, args, None)
    jitted = step_lib.jitted_train_step(model, optimizer, partitioner, arguments[0])
    with jax.set_mesh(partitioner.mesh):
        return jitted.lower(*arguments).compile()


def inputs(
    config: T5Config, args: argparse.Namespace, distillation: Distillation | None
) -> tuple[EncoderDecoderModel, optimizers.Optimizer, PjitPartitioner, tuple]:
    """Model, optimizer and mesh, and the step's arguments: state, frozen weights, batch, key."""
    model, shapes = model_of(config, args, distillation)
    init = jax.jit(lambda key: model.get_initial_variables(key, shapes)["params"])
    params = init(jax.random.key(0))
    labels, axes = model.param_labels(params), model.param_axes(params)
    trainable, frozen = step_lib.split(params, labels)
    trainable_axes, frozen_axes = step_lib.split(axes, labels)
    optimizer = model.optimizer_def.build(labels, axes, lambda count: jnp.ones(()))
    partitioner = PjitPartitioner()
    state = partitioner.place_state(step_lib.init_state(optimizer, trainable), trainable_axes)
    frozen = partitioner.place(frozen, frozen_axes)
    batch = partitioner.shard_batch(random_batch(config, args))
    return model, optimizer, partitioner, (state, frozen, batch, jax.random.key(1))


def model_of(
    config: T5Config, args: argparse.Namespace, distillation: Distillation | None = None
) -> tuple[EncoderDecoderModel, dict[str, tuple[int, int]]]:
    """MPT over a backbone, and the shapes of its batch."""
    model = EncoderDecoderModel(
        config=config,
        method=MPT(prompt_length=args.prompt),
        tasks=TASKS,
        input_vocabulary=seqio.ByteVocabulary(),  # no text is read
        output_vocabulary=seqio.ByteVocabulary(),
        optimizer_def=optimizers.adamw({"shared": 0.3, "task": 0.3}),
        distillation=distillation,
    )
    shapes = {
        "encoder_input_tokens": (args.batch, args.inputs),
        "decoder_input_tokens": (args.batch, args.targets),
    }
    return model, shapes


def random_batch(config: T5Config, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Full rows without padding: the counted FLOPs are those of the batch."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(2, config.vocab_size, (args.batch, args.inputs), np.int32)
    targets = rng.integers(2, config.vocab_size, (args.batch, args.targets), np.int32)
    return {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": targets,
        "decoder_loss_weights": np.ones_like(targets),
        "task_ids": np.arange(args.batch, dtype=np.int32) % len(TASKS),
    }


MATMUL_SIZES = (1024, 2048)
_multiply = jax.jit(jnp.matmul)


def matmul(size: int) -> Callable[[], jax.Array]:
    """A float32 product of square matrices, large enough for full speed."""
    matrix = jnp.ones((size, size))
    return lambda: _multiply(matrix, matrix)


def fastest(functions: dict[str, Callable[[], jax.Array]], repeats: int) -> dict[str, float]:
    """The least wall time of each in seconds, after one call that compiles."""
    for function in functions.values():
        jax.block_until_ready(function())
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            best[name] = min(best[name], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
