"""`mpt_jax.load` and what it gives, from many threads at once: the answers of one thread."""

import concurrent.futures
import threading

import jax
import numpy as np
import pytest
import toy_prompts

import mpt_jax
from mpt_jax.backbone import layout
from mpt_jax.methods.lora import LoRA

TEXTS = ["the judge resisted the law .", "yes", "a mayor in madrid on friday in may", "it was good"]
MIXED = ["nli", "qa", "sst", "nli"]
CALLS = {
    "predict": lambda t5: t5.predict_with_scores(TEXTS, tasks=MIXED),
    "other order": lambda t5: t5.predict_with_scores(TEXTS[::-1], tasks=MIXED),
    "one": lambda t5: t5.predict_with_scores(TEXTS[:1], "sst"),
    "score": lambda t5: t5.score(TEXTS, ["yes", "no"], tasks=MIXED).log_likelihoods,
    "own labels": lambda t5: t5.score(TEXTS[1:], task="sst").log_likelihoods,
    "encode": lambda t5: t5.encode(TEXTS[:2], "qa").states,
    "logits": lambda t5: t5.logits(TEXTS[:2], ["yes", "no"], task="nli").logits,
    "prompt": lambda t5: t5.embed_prompt("sst"),
}


def at_once(work, arguments):
    """`work(argument)` of each, all begun at the same time."""
    begin = threading.Barrier(len(arguments))

    def wait_and_work(argument):
        begin.wait()
        return work(argument)

    with concurrent.futures.ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(wait_and_work, arguments))


@pytest.mark.parametrize("method", [None, LoRA(rank=2)], ids=["mpt", "lora"])
def test_mixed_calls_of_many_threads_are_those_of_one(tmp_path, method):
    folder = toy_prompts.write(tmp_path, method=method)
    names = [name for name in CALLS if method is None or name != "prompt"] * 2
    first, one = at_once(lambda _: mpt_jax.load(folder, folder, batch_size=4), range(2))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None
    )
    try:  # nothing is compiled yet, so that this is done by all at once as well
        found = at_once(lambda name: CALLS[name](first), names)
        count = len(compiled)
        expected = {name: CALLS[name](one) for name in names}
        assert len(compiled) == 2 * count > 0  # each program once
    finally:
        jax.monitoring.clear_event_listeners()
    for name, result in zip(names, found, strict=True):
        if isinstance(result, list):
            assert result == expected[name]
        else:
            np.testing.assert_array_equal(result, expected[name])


def test_a_layout_is_of_the_thread_that_traces():
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    x = np.ones(2)
    with layout.split_over_batch(sharding):
        (other,) = at_once(lambda _: layout.states(x), [None])
        assert other is x and layout.states(x) is not x
    assert layout.states(x) is x
