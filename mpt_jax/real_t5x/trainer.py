"""T5X's trainer on batches that are cut to length buckets, as our engine cuts them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from t5x import trainer as trainer_lib

from mpt_jax import hosts
from mpt_jax.engine.data.length_buckets import Buckets, bucket_widths


class Trainer(trainer_lib.Trainer):
    """T5X's; with buckets each shape of a batch compiles when it first comes.

    Args:
        length_buckets: of the training data; None: no cut, and T5X compiles ahead.
        begins: called with the step after which some steps are taken.
        ended: called in every process when training has come to its end.
        arguments: T5X's.
    """

    def __init__(
        self,
        *,
        length_buckets: Buckets | None,
        begins: Callable[[int], None],
        ended: Callable[[], None],
        **arguments: Any,
    ):
        super().__init__(**arguments)
        self._length_buckets = length_buckets
        self._begins = begins
        self._ended = ended

    def close(self) -> None:
        """T5X's; it calls this only at the end."""
        self._ended()
        super().close()

    def compile_train(self, batch: Mapping[str, jax.Array]) -> None:
        """Compiles the step ahead, for the one shape of an uncut batch."""
        if not self._length_buckets:
            super().compile_train(batch)

    def train(self, batch_iter: Iterator[Mapping], num_steps: int, start_step: int | None = None):
        """As T5X's."""
        self._begins(int(self.train_state.step) if start_step is None else start_step)
        return super().train(map(self._cut, batch_iter), num_steps, start_step)

    def _cut(self, batch: Mapping[str, jax.Array]) -> Mapping[str, jax.Array]:
        """The global batch without the columns that are padding on every host."""
        own = {name: _own_rows(array) for name, array in batch.items()}
        widths = bucket_widths(own, self._length_buckets, hosts.agree_on_longest)
        return {**batch, **{name: batch[name][:, :width] for name, width in widths.items()}}


def _own_rows(array: jax.Array) -> np.ndarray:
    """The rows of a global array that lie on this host, some perhaps twice."""
    return np.concatenate([np.asarray(shard.data) for shard in array.addressable_shards])
