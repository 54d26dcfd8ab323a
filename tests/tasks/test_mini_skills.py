import random

import pytest

from mpt_jax.tasks.mini import skills as mini_skills
from mpt_jax.tasks.mini import suite as mini_suite


@pytest.mark.parametrize("skill", mini_skills.SKILLS, ids=lambda skill: skill.__name__)
def test_every_skill_writes_an_instruction_and_an_answer(skill):
    rng = random.Random(0)
    rows = [skill(rng) for _ in range(100)]
    assert all(row.inputs and row.targets for row in rows)
    assert len({row.targets for row in rows}) > 1
    # The instruction stands in front: no row starts with a field.
    assert not any(row.inputs.split()[0].endswith(":") for row in rows)


def test_no_target_row_is_in_the_pretraining_rows():
    rng = random.Random(0)
    texts = [mini_skills.skill_row(rng).inputs for _ in range(20_000)]
    suffixes = {text[text.find(f"{field}: ") :] for text in texts for field in FIRST_FIELDS}
    for name in mini_suite.TARGETS:
        for row in mini_suite.split_rows(name, "test"):
            assert row.inputs not in suffixes


FIRST_FIELDS = ("premise", "sentence1", "sentence", "context", "subject")
