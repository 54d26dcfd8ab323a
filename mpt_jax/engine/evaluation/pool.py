"""The rows of an evaluation in few, full, equally long batches, whichever tasks they are of."""

from collections.abc import Mapping, Sequence

import numpy as np

from mpt_jax.engine.data.length_buckets import Batch, cut_batch, used_length
from mpt_jax.engine.data.pipeline import DatasetConfig, pad_rows


class Pool:
    """Rows of tasks in batches of rows of like length.

    Args:
      features: of each task, [N, ...].
      cfg: says how many rows a batch has, and to which lengths it is cut.

    Attributes:
      batches: the short ones first; rows that fill the last one count nowhere.
    """

    def __init__(self, features: Mapping[str, Batch], cfg: DatasetConfig):
        tables, size = list(features.values()), cfg.batch_size
        pool = {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}
        lengths = [used_length(row[None]) for row in pool["encoder_input_tokens"]]
        self._order = np.argsort(lengths, kind="stable")
        self._counts = {name: len(table["task_ids"]) for name, table in features.items()}
        buckets = {side: b for side, b in (cfg.length_buckets or {}).items() if side == "inputs"}
        self.batches = []
        for start in range(0, len(lengths), size):
            chosen = self._order[start : start + size]
            batch = pad_rows({key: array[chosen] for key, array in pool.items()}, size)
            self.batches.append(cut_batch(batch, buckets))

    def by_task(self, answers: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What was answered to each task's rows [N, ...], in their order, from all batches."""
        in_order = _stack(answers)[: len(self._order)][np.argsort(self._order)]
        ends = np.cumsum(list(self._counts.values()))
        return dict(zip(self._counts, np.split(in_order, ends[:-1]), strict=True))


def _stack(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Outputs joined along the rows; token ids padded to one length, which SeqIO needs."""
    if outputs[0].ndim == 1:
        return np.concatenate(outputs)
    longest = max(array.shape[1] for array in outputs)
    return np.concatenate([np.pad(a, [(0, 0), (0, longest - a.shape[1])]) for a in outputs])
