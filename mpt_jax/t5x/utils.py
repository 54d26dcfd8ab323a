"""T5X's `utils` names: dataset and checkpoint settings, the learning-rate schedule."""

from mpt_jax.engine.checkpoints import CheckpointConfig, SaveCheckpointConfig
from mpt_jax.engine.data.pipeline import DatasetConfig
from mpt_jax.engine.initialize import RestoreCheckpointConfig
from mpt_jax.engine.schedules import create_learning_rate_scheduler

__all__ = [
    "CheckpointConfig",
    "DatasetConfig",
    "RestoreCheckpointConfig",
    "SaveCheckpointConfig",
    "create_learning_rate_scheduler",
]
