import dataclasses

import pytest
import sweep_plans

from mpt_jax.errors import UserError
from mpt_jax.sweep.plan import Method, Source

PLAN = sweep_plans.PLAN


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"methods": ()}, "plan: methods is empty"),
        ({"tasks": ()}, "plan: tasks is empty"),
        ({"shots": (), "by_shots": {}}, "plan: shots is empty"),
        ({"seeds": ()}, "plan: seeds is empty"),
        ({"methods": (Method("a b"), Method("a_b"))}, "methods: 'a_b' is there twice"),
        ({"sources": (Source("mpt"), Source("mpt"))}, "sources: 'mpt' is there twice"),
        ({"tasks": ("a", "a")}, "tasks: 'a' is there twice"),
        ({"seeds": (1, 1)}, "seeds: 1 is there twice"),
        ({"methods": (Method("../a"),)}, "'../a' cannot name a folder"),
        ({"methods": (Method("16"),)}, "'16' cannot name a folder; use a letter first"),
        ({"tasks": ("a/b",)}, "'a/b' cannot name a folder"),
        ({"sources": (Source(""),)}, "'' cannot name a folder"),
        ({"shots": ("0",)}, 'shots: 0 is neither a positive number nor "full"'),
        ({"shots": ("-16",)}, "shots: -16 is neither"),
        ({"shots": ("Full",)}, "shots: Full is neither"),
        ({"shots": ("1.5",)}, "shots: 1.5 is neither"),
        ({"shots": ("32",)}, "by_shots: 16 is not among shots, which are 32"),
        ({"seeds": (-1,)}, "seeds: -1 is not a whole number of at least 0"),
        ({"seeds": (True,)}, "seeds: True is not a whole number"),
        (
            {"methods": (Method("a", source="mtp"),)},
            "method 'a': there is no source run 'mtp'. Did you mean 'mpt'? "
            "Declared in sources: shared, mpt, idle.",
        ),
        ({"methods": (Method("a", source="mpt/eval"),)}, "no source run 'mpt/eval'"),
        ({"sources": ()}, "there is no source run 'mpt'. Declared in sources: none."),
        (
            {"sources": (*PLAN.sources[1:], Source("shared", teachers="mtp"))},
            "the teachers of 'shared': there is no source run 'mtp'. Did you mean 'mpt'?",
        ),
        (
            {"sources": (*PLAN.sources, Source("more", teachers="shared"))},
            "source 'more' uses the teachers of 'shared', which trains none",
        ),
        (
            {"sources": (*PLAN.sources, Source("self", teachers="self"))},
            "source 'self' uses the teachers of 'self', which trains none",
        ),
    ],
)
def test_what_a_plan_refuses(fields, message):
    with pytest.raises(UserError) as refusal:
        dataclasses.replace(PLAN, **fields)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("plan: ")


def test_a_selection_keeps_the_plan_s_order():
    part = PLAN.select(methods=["scratch", "MPT"], tasks=["b"], shots=["full"], seeds=["3"])
    assert [method.label for method in part.methods] == ["MPT", "scratch"]
    assert (part.tasks, part.shots, part.seeds, part.by_shots) == (("b",), ("full",), (3,), {})
    assert PLAN.select() == PLAN


def test_a_selection_of_what_is_not_there():
    with pytest.raises(UserError, match="--methods: plan has no 'MTP'. Did you mean 'MPT'"):
        PLAN.select(methods=["MTP"])
    with pytest.raises(UserError, match=r"--seeds: plan has no '1'\. It has: 0, 3"):
        PLAN.select(seeds=["1"])
