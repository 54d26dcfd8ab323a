"""Our side of `versus_peft.py`, on the mini backbone, and the talk between the two programs."""

import argparse
import sys

import pytest


@pytest.fixture(name="args")
def _args():
    shape = dict(batch=4, inputs=16, prompt=3, targets=4)
    return argparse.Namespace(**shape, verbose=False)


def test_our_side_answers_job_after_job(args):
    import versus_peft

    side = versus_peft.Side("ours", sys.executable, "mini", args)
    for method, given in (
        ("step", {}),
        ("texts", {"lengths": [3, 16, 9, 2, 5]}),
        ("decode", {"new_tokens": 2, "tasks": 2}),
    ):
        answer = side.do(method, **given)
        assert 0 < answer["seconds"] < 300 and answer["memory"] > 1e8
    with pytest.raises(SystemExit, match="fail: the program ended; run again with --verbose"):
        side.do("fail")
    side.end()


def test_lengths_are_the_same_every_time():
    import versus_peft

    lengths, name = versus_peft.real_lengths(50, 20)
    assert (lengths, name) == versus_peft.real_lengths(50, 20)
    assert len(lengths) == 50 and all(1 <= length <= 20 for length in lengths)
