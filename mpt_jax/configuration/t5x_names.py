"""Settings of T5X that we lack or have by another name, for the messages that refuse them."""

_HERE = {
    "EVAL_STEPS": "an evaluation reads the whole split",
    "TRAIN_EVAL": "an evaluation decodes (scope infer_eval); no evaluation computes the loss",
    "LOSS_NORMALIZING_FACTOR": "the loss is the mean over the target tokens of a batch",
    "SHUFFLE_TRAIN_EXAMPLES": "set train/utils.DatasetConfig.shuffle",
    "TRAIN_DATASET_SEED": "set RANDOM_SEED, or train/utils.DatasetConfig.seed",
    "CHECKPOINT_PATH": "set INITIAL_CHECKPOINT_PATH, the backbone, and PROMPTS, what was trained",
    "INFER_OUTPUT_DIR": "set OUTPUT, a file",
    "MODE": "infer.infer decodes and scores; RANK_LABELS = True chooses among label words",
    "DTYPE": "DTYPE is of the frozen weights; what trains is saved as it is, in float32",
    "CHECKPOINT_STEPS": "set utils.SaveCheckpointConfig.period",
    "SAVE_DATASET": "a checkpoint always has the position in the data",
    "USE_HARDWARE_RNG": "keys come only from random_seed, so that a run can be repeated",
    "HARDWARE_RNG": "keys come only from RANDOM_SEED, so that a run can be repeated",
    "RELATIVE_STEPS": "set TRAIN_STEPS, the steps of the whole run",
    "RUN_EVAL_BEFORE_TRAINING": "t5x eval evaluates without training",
    "JSON_WRITE_N_RESULTS": "all predictions are written",
    "NUM_EXAMPLES": "an evaluation reads the whole split",
    "OPTIMIZER": "set models.EncoderDecoderModel.optimizer_def",
    "MODEL": "configure models.EncoderDecoderModel",
}
_SAME = {
    "TRAIN_EVAL_DATASET_CFG": "TRAIN_EVAL",
    "TRAIN_EVAL_DATASET_SEED": "TRAIN_EVAL",
    "EVALUATOR_NUM_EXAMPLES": "NUM_EXAMPLES",
    "WRITE_N_RESULTS": "JSON_WRITE_N_RESULTS",
    "OUTPUT_DIR": "INFER_OUTPUT_DIR",
}


def hint(name: str) -> str:
    """What to do instead of setting T5X's `name` (a macro, an argument or a scope), or ""."""
    upper = name.upper()
    found = _HERE.get(_SAME.get(upper, upper))
    return f" Of T5X's {name}: {found}." if found else ""
