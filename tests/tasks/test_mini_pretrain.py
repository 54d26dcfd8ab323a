import random
import re

from mpt_jax.tasks.mini import pretrain as mini_pretrain


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
    for rows in (mini_pretrain.corruption_rows, mini_pretrain.instruction_rows):
        assert rows(50, "a")[:20] == rows(20, "a") != rows(20, "b")


def test_instruction_rows_hardly_repeat():
    rows = mini_pretrain.instruction_rows(5000, "distinct")
    assert len({row.inputs for row in rows}) > 0.95 * len(rows)
