"""Reads from gin files what the step is that a command would run, without what the step reads.

Neither weights nor vocabulary, data, teachers or source prompts need to be there.
"""

from collections.abc import Sequence
from typing import Any

from mpt_jax import feature_lengths
from mpt_jax.configuration import config, gin_presets, gin_source
from mpt_jax.engine import partitioning
from mpt_jax.errors import UserError
from mpt_jax.plan.program import PREDICT, TRAIN, Setup
from mpt_jax.plan.topology import Topology

TEACHERS = "teachers"
STEPS = (TRAIN, TEACHERS, PREDICT)
# The function that a run file configures -> the sub-command that calls it.
_RUNS = {"train.train": "train", "eval.evaluate": "eval", "infer.infer": "infer"}


def read(
    files: Sequence[str],
    overrides: Sequence[str],
    search_paths: Sequence[str],
    topology: Topology,
    step: str | None = None,
) -> Setup:
    """The setup of the step that `files` and `overrides` configure.

    Args:
        files, overrides, search_paths: as of `config.parse`.
        topology: what it runs on.
        step: one of `STEPS`; None: the training step of a training run, else the decoding one.

    Raises:
        UserError: a mistake in them; a step that such a run does not have.
    """
    source = gin_source.read(files, overrides, search_paths)
    command = next((c for name, c in _RUNS.items() if name in source.names()), None)
    if command is None:
        raise UserError(f"the gin files configure no run: give one that binds {', '.join(_RUNS)}.")
    step = step or (TRAIN if command == "train" else PREDICT)
    has_teachers = "teachers.teacher_prompts" in source.names()
    if (command != "train" and step != PREDICT) or (step == TEACHERS and not has_teachers):
        raise UserError(f"--step={step}: the gin files configure no such step (t5x {command}).")
    presets = [*gin_presets.presets(command, files, search_paths), *_without_files(source)]
    config.parse(files, overrides, search_paths, presets)
    with partitioning.described(topology.devices()):
        return _infer(step) if command == "infer" else _from_data(command, step)


def config_name(files: Sequence[str], search_paths: Sequence[str]) -> str:
    """What has the arguments `remat` and `scan_layers` in these gin files."""
    names = gin_source.read(files, (), search_paths).names()
    return "backbones.config_of" if "backbones.config_of" in names else "config.T5Config"


def _from_data(command: str, step: str) -> Setup:
    """The setup of a run of `t5x train` or `t5x eval`."""
    names = {"train": ("train", "train"), "eval": ("eval", "evaluate")}
    module, function = names[command]
    scope = TEACHERS if step == TEACHERS else None

    def argument(name: str) -> Any:
        return config.argument(f"mpt_jax.t5x.{module}", function, name, scope)

    if command == "eval":
        dataset, restore, microbatches = "dataset_cfg", argument("restore_checkpoint_cfg"), 1
    else:
        dataset = "infer_eval_dataset_cfg" if step == PREDICT else "train_dataset_cfg"
        restore = argument("checkpoint_cfg").restore
        microbatches = 1 if step == PREDICT else argument("trainer_cls")().num_microbatches
    data = argument(dataset)
    if data is None:
        raise UserError(f"--step={step}: this run does not evaluate ({dataset} is None).")
    return Setup(
        step=PREDICT if step == PREDICT else TRAIN,
        model=argument("model"),
        partitioner=argument("partitioner"),
        restore=restore,
        batch_size=data.batch_size,
        lengths=data.task_feature_lengths,
        num_microbatches=microbatches,
    )


def _infer(step: str) -> Setup:
    def argument(name: str) -> Any:
        return config.argument("mpt_jax.t5x.infer", "infer", name)

    lengths = argument("task_feature_lengths")
    feature_lengths.check(lengths)
    return Setup(
        step=step,
        model=argument("model"),
        partitioner=argument("partitioner"),
        restore=argument("restore_checkpoint_cfg"),
        batch_size=argument("batch_size"),
        lengths=lengths,
    )


def _without_files(source: gin_source.Source) -> list[str]:
    """Presets that leave out what a step reads and its shapes do not depend on."""
    values, names = source.values(), source.names()
    unset = {name for name, each in values.items() if gin_source.is_required(each.value)}
    presets = []
    if "SOURCE_PROMPTS" in values and "attempt.Attempt" not in names:  # it has as many as they are
        presets.append("SOURCE_PROMPTS=None")
    instead = {
        "INPUTS": "'-'",
        "MODEL_DIR": "'planned'",
        "FEW_SHOT": "None",
        "SPIECE_MODEL": "None",
    }
    presets += [f"{name}={value}" for name, value in instead.items() if name in unset]
    if "backbones.vocabulary_of" in names:  # its file does not import seqio
        presets.append("SPIECE_MODEL='bytes'")
    elif "SPIECE_MODEL" in values:
        presets.append("VOCABULARY=@seqio.ByteVocabulary()")
    if "INITIAL_CHECKPOINT_PATH" in unset and "backbones.config_of" not in names:
        presets.append("INITIAL_CHECKPOINT_PATH=None")
    if "distillation.Distillation" in names:
        presets.append("distillation.Distillation.teacher_prompts='planned'")
    if "utils.DatasetConfig" in names:
        presets.append("utils.DatasetConfig.mixture_or_task_name='planned'")
    presets += [
        f"models.EncoderDecoderModel.{name}={{}}"
        for name in ("label_words", "input_forms")
        if "info.label_words" in names
    ]
    return presets
