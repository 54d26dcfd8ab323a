"""What a run has cost, against a clock that the test moves, and sizes and times from elsewhere."""

import resource
import time

import jax
import jax.numpy as jnp
import pytest

from mpt_jax.engine.records import meter, recorded_costs


class Clock:
    """Seconds that pass when told."""

    now = 1000.0

    def __call__(self):
        return self.now

    def span(self, seconds):
        """Lets them pass; (from, to)."""
        self.now += seconds
        return self.now - seconds, self.now


def test_steps_compiling_and_the_rest_are_told_apart_and_starts_add_up(tmp_path):
    before = None
    for start in (1, 2):
        clock, spans = Clock(), []
        found = meter.Meter(8, before, clock=clock, compilations=spans)
        spans.append(clock.span(3))  # of the parameters
        clock.span(1)
        found.go(10)
        spans.append(clock.span(5))
        clock.span(2)
        found.go(11)  # goes on
        clock.span(2)
        found.pause(14)
        clock.span(30)  # an evaluation
        found.pause(14)
        found.go(14)
        clock.span(4)
        found.pause(16)
        cost = found.cost(str(tmp_path))
        peak = cost.pop("peak_memory_bytes", 0), cost.pop("peak_memory_of", "host")
        assert cost == {
            "seconds": start * 47,
            "step_seconds": start * 8,
            "compile_seconds": start * 8,
            "steps": start * 6,
            "examples_per_second": 6,  # 6 steps of 8 examples in 8 seconds
        }
        assert peak[1] == "host" and peak[0] <= 1.01 * 1024 * resource.getrusage(0).ru_maxrss
        before = {"cost": cost}


def test_the_cost_of_a_run_that_began_without_a_meter_is_not_known(tmp_path):
    for before in ({}, {"cost": {}}, {"cost": "much"}):
        assert meter.Meter(8, before).cost(str(tmp_path)) == {}


def test_compiling_is_heard_once_and_running_is_not(tmp_path):
    found = meter.Meter(1, None)
    began = time.monotonic()

    @jax.jit
    def outer(x):
        return jax.jit(lambda y: jnp.tanh(y) @ y)(x) + jnp.cos(x)

    outer(jnp.ones((4, 4))).block_until_ready()
    took = time.monotonic() - began
    first = found.cost(str(tmp_path))["compile_seconds"]
    assert 0 < first <= took
    found.go(0)
    outer(jnp.ones((4, 4))).block_until_ready()
    found.pause(1)
    assert found.cost(str(tmp_path))["compile_seconds"] == first


def test_memory_that_this_run_takes_is_its_own(tmp_path):
    found = meter.Meter(1, None)
    block = bytearray(b"x" * 200_000_000)
    cost = found.cost(str(tmp_path))
    assert len(block) <= cost["peak_memory_bytes"] <= 1.01 * 1024 * resource.getrusage(0).ru_maxrss
    del block
    later = meter.Meter(1, None).cost(str(tmp_path)).get("peak_memory_bytes", 0)
    assert later < cost["peak_memory_bytes"] - 100_000_000


@pytest.mark.parametrize(
    ("cost", "texts"),
    [
        ({}, ["", "", "", "", "", ""]),
        (
            {
                **{"seconds": 1234.5, "step_seconds": 99.96, "compile_seconds": 0.0123},
                **{"examples_per_second": 7.0, "peak_memory_bytes": 2_345_678_901},
                **{"peak_memory_of": "device", "product_bytes": 999},
            },
            ["1,234", "100", "0.0123", "7", "2.35 GB (device)", "999 B"],
        ),
    ],
)
def test_as_people_read_it(cost, texts):
    assert recorded_costs.texts(recorded_costs.of({"cost": cost})) == texts


def test_damaged_numbers_are_not_known():
    damaged = {"seconds": -1, "steps": True, "product_bytes": "9", "examples_per_second": 2.0**80}
    told = {**damaged, "step_seconds": float("nan"), "peak_memory_of": "cloud"}
    assert recorded_costs.of({"cost": told}) == recorded_costs.of({"cost": [1]}) == {}


def test_runs_of_one_program_share_its_time_equally(tmp_path):
    clock, spans = Clock(), []
    meters = []
    for _ in range(2):
        meters.append(meter.Meter(8, None, clock=clock, compilations=spans))
        clock.span(3)  # of its own start
    for each in meters:
        each.share(meters)
        each.go(0)
    spans.append(clock.span(4))
    clock.span(10)
    for each in meters:
        each.pause(5)
        cost = each.cost(str(tmp_path))
        assert (cost["seconds"], cost["steps"]) == (10, 5)  # half of 3 + 3 + 4 + 10
        assert (cost["step_seconds"], cost["compile_seconds"]) == (5, 2)
        assert cost["examples_per_second"] == 8
