import numpy as np
import pytest

from mpt_jax.engine.data.length_buckets import bucket_length, cut_batch, used_length


def batch(input_lengths, target_lengths, T=8, S=6):
    def ones(lengths, width):
        return (np.arange(width) < np.array(lengths)[:, None]).astype(np.int32)

    targets = ones(target_lengths, S)
    return {
        "encoder_input_tokens": ones(input_lengths, T),
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.roll(targets, 1, axis=1) * targets,
        "decoder_loss_weights": targets,
        "task_ids": np.arange(len(targets), dtype=np.int32),
    }


@pytest.mark.parametrize("length, expected", [(0, 4), (4, 4), (5, 6), (7, 8), (8, 8)])
def test_the_smallest_sufficient_bucket_is_taken(length, expected):
    assert bucket_length(length, [4, 6], full=8) == expected


def test_buckets_beyond_the_full_length_do_not_count():
    assert bucket_length(3, [16], full=8) == 8


def test_a_padding_id_within_a_row_counts_as_used():
    assert used_length(np.array([[5, 0, 5, 0], [5, 0, 0, 0]])) == 3
    assert used_length(np.zeros((2, 4), np.int32)) == 0


def test_only_padding_is_cut():
    whole = batch([3, 5], [2, 1])
    cut = cut_batch(whole, {"inputs": [4, 6], "targets": [2, 4]})
    assert {name: array.shape for name, array in cut.items()} == {
        "encoder_input_tokens": (2, 6),
        "decoder_target_tokens": (2, 2),
        "decoder_input_tokens": (2, 2),
        "decoder_loss_weights": (2, 2),
        "task_ids": (2,),
    }
    for name, array in cut.items():
        assert array.sum() == whole[name].sum()
        assert array.dtype == np.int32 and array.flags.c_contiguous


def test_sides_without_buckets_stay_whole():
    whole = batch([1], [1])
    assert cut_batch(whole, None) is whole
    cut = cut_batch(whole, {"targets": [2]})
    assert cut["encoder_input_tokens"].shape == (1, 8)
    assert cut["decoder_target_tokens"].shape == (1, 2)


def test_another_process_may_need_more():
    cut = cut_batch(batch([3], [1]), {"inputs": [4, 6]}, agree=lambda own: np.maximum(own, 5))
    assert cut["encoder_input_tokens"].shape == (1, 6)
