"""What a pass over a task's rows does with the user's own functions."""

import sys

import seqio
import tensorflow as tf

from mpt_jax.tasks import row_source
from mpt_jax.tasks.bound_task import BoundTask

BYTES = seqio.Feature(seqio.ByteVocabulary(), add_eos=False)


def test_a_source_runs_as_written_and_its_maps_may_branch_on_tensors(monkeypatch):
    monkeypatch.setattr(row_source, "MEMORY_ROWS", 2)  # streamed: read inside each pass
    ran_from = []

    def rows_of(split, shuffle_files=False):
        ran_from.append(sys._getframe().f_code.co_filename)

        def row(number):
            if number % 2 == 0:  # a tensor, where this is traced
                return {"inputs": "even", "targets": "e"}
            return {"inputs": "odd", "targets": "o"}

        return tf.data.Dataset.range(4).map(row)

    task = seqio.Task(
        "branches",
        seqio.FunctionDataSource(rows_of, ["train"], {"train": 4}),
        {"inputs": BYTES, "targets": BYTES},
        [seqio.preprocessors.tokenize],
        metric_fns=[],
        shuffle_buffer_size=1,
    )
    bound = BoundTask(task, task_id=0, num_tasks=1)
    rows = bound.get_dataset({"inputs": 8, "targets": 8}, num_epochs=2, seed=0)
    decoded = [BYTES.vocabulary.decode(row["inputs"].tolist()) for row in rows.as_numpy_iterator()]
    assert decoded == ["even", "odd"] * 4
    assert set(ran_from) == {__file__}
