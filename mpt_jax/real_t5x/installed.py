"""Whether the real T5X is installed, and has what we call."""

import functools
import importlib
import importlib.util
import inspect

from mpt_jax.errors import UserError

INSTALL = (
    "put the sources of google-research/t5x (commit cc342d4), google/airio and "
    "google-research/jestimator on PYTHONPATH, and pip install fiddle cached_property jaxtyping "
    "grain portpicker cloudpickle psutil tensorboard (docs/t5x.md)"
)

# What we call or derive from, with the arguments that we give.
USED = {
    "t5x.train": {
        "train": "model train_dataset_cfg train_eval_dataset_cfg infer_eval_dataset_cfg "
        "checkpoint_cfg partitioner trainer_cls model_dir total_steps eval_steps eval_period "
        "stats_period random_seed summarize_config_fn inference_evaluator_cls get_dataset_fn "
        "concurrent_metrics run_eval_before_training actions train_state_initializer_cls "
        "verify_matching_vocabs_fn"
    },
    "t5x.eval": {
        "evaluate": "model dataset_cfg restore_checkpoint_cfg partitioner output_dir "
        "inference_evaluator_cls summarize_config_fn"
    },
    "t5x.infer": {
        "infer": "mode model dataset_cfg restore_checkpoint_cfg partitioner output_dir "
        "checkpoint_period checkpoint_ds_iter write_fn merge_fn summarize_config_fn"
    },
    "t5x.utils": {
        "DatasetConfig": "mixture_or_task_name task_feature_lengths split batch_size shuffle seed "
        "use_cached pack",
        "SaveCheckpointConfig": "dtype period keep save_dataset state_transformation_fns",
        "RestoreCheckpointConfig": "path mode checkpoint_manager_cls",
        "CheckpointConfig": "save",
        "TrainStateInitializer": "optimizer_def init_fn input_shapes partitioner input_types",
    },
    "t5x.trainer": {
        "Trainer": "learning_rate_fn num_microbatches weight_metrics_computer",
        "PreemptionError": "",
    },
    "t5x.partitioning": {"PjitPartitioner": "num_partitions logical_axis_rules"},
    "t5x.optimizers": {"OptaxWrapper": "optax_optimizer", "OptimizerState": "step param_states"},
    "t5x.train_state": {"FlaxOptimTrainState": "", "InferenceState": ""},
    "t5x.checkpoints": {"all_steps": ""},
}


def find() -> None:
    """Raises UserError where T5X is not installed; imports nothing."""
    if importlib.util.find_spec("t5x") is None:
        raise UserError(f"--engine=t5x needs T5X, which is not installed: {INSTALL}.")


@functools.cache
def check() -> None:
    """Imports T5X and compares it with what we use.

    Raises:
        UserError: T5X or a package that it needs is missing; it lacks a function or an argument.
    """
    find()
    for module, members in USED.items():
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise UserError(
                f"--engine=t5x: T5X is installed, but {module} cannot be imported ({error}): "
                f"{INSTALL}."
            ) from error
        for name, arguments in members.items():
            _check_member(found, name, arguments.split())


def _check_member(module: object, name: str, arguments: list[str]) -> None:
    whole = f"{module.__name__}.{name}"
    lacking = None
    if not hasattr(module, name):
        lacking = whole
    elif arguments:
        has = inspect.signature(getattr(module, name)).parameters
        missing = [argument for argument in arguments if argument not in has]
        lacking = f"the argument {missing[0]!r} of {whole}" if missing else None
    if lacking:
        raise UserError(
            f"--engine=t5x: the installed T5X ({module.__file__}) lacks {lacking}: it is older or "
            f"newer than the one that is known to work: {INSTALL}."
        )
