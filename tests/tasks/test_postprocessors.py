import numpy as np

from mpt_jax.tasks import postprocessors


def test_targets_become_all_right_answers():
    row = {"references": np.array([b"a", "\u00e9".encode()], object)}
    assert postprocessors.references("a", example=row, is_target=True) == ["a", "\u00e9"]
    assert postprocessors.references("x", example={}, is_target=False) == "x"
    one = {"references": np.array(b"a", object)}
    assert postprocessors.references("a", example=one, is_target=True) == ["a"]


def test_targets_come_with_their_group():
    row = {"group": np.array([3, 7], np.int32)}
    assert postprocessors.grouped("True", example=row, is_target=True) == ("True", (3, 7))
    assert postprocessors.grouped("False", example={}, is_target=False) == "False"
