import random
import re

from mpt_jax.tasks.mini import pretrain as mini_pretrain
from mpt_jax.tasks.mini.suite import TARGETS, split_rows


def restore(inputs, targets):
    """Puts the spans of the targets back in place of the sentinels."""
    spans = re.split(r" ?<extra_id_\d+> ?", targets)[1:]
    for i, span in enumerate(spans[:-1]):
        inputs = inputs.replace(f"<extra_id_{i}>", span)
    return inputs


def test_corruption_hides_spans_and_nothing_else():
    rng = random.Random(0)
    for _ in range(200):
        text = mini_pretrain.running_text(rng)
        row = mini_pretrain.corrupted(rng, text)
        assert restore(row.inputs, row.targets) == text
        hidden = len([w for w in row.targets.split() if not w.startswith("<extra_id")])
        assert hidden == max(1, round(len(text.split()) * mini_pretrain.NOISE_DENSITY))


def test_rows_depend_on_the_seed_alone_and_extend():
    writers = (
        mini_pretrain.corruption_rows,
        mini_pretrain.instruction_rows,
        mini_pretrain.seen_rows,
    )
    for rows in writers:
        assert rows(50, "a")[:20] == rows(20, "a") != rows(20, "b")


def test_instruction_rows_hardly_repeat():
    rows = mini_pretrain.instruction_rows(5000, "distinct")
    assert len({row.inputs for row in rows}) > 0.95 * len(rows)


def test_seen_rows_are_training_rows_of_all_targets_behind_their_names():
    seen = mini_pretrain.seen_rows(3000, "seen")
    names = {row.inputs.split(" ", 1)[0] for row in seen}
    assert names == {name.removeprefix("mini_") for name in TARGETS}
    for row in seen:
        name, inputs = row.inputs.split(" ", 1)
        splits = {
            split: {(each.inputs, each.targets) for each in split_rows(f"mini_{name}", split)}
            for split in ("train", "validation", "test")
        }
        assert (inputs, row.targets) in splits["train"]
        assert (inputs, row.targets) not in splits["validation"] | splits["test"]
