"""The search for a setting that fits, with a compiler that is made up."""

import types

import pytest

from mpt_jax.errors import UserError
from mpt_jax.plan import estimate, program, suggest, topology

PARTITIONS = "partitioning.PjitPartitioner.num_partitions"
REMAT = ["config.T5Config.remat=True", "config.T5Config.scan_layers=True"]
PARTS = "trainer.Trainer.num_microbatches="


@pytest.fixture
def search(monkeypatch, no_compiler):
    """A search among steps whose size is made up: (bytes of weights, bytes of activations)."""

    def build(setup):
        flags = dict(override.split("=") for override in setup.overrides)
        size, parts = int(flags[PARTITIONS]), int(flags.get("trainer.Trainer.num_microbatches", 1))
        if size == 8:
            raise UserError("Parameter wi: dimension 1 does not divide over the mesh axis.")
        half = 2 if "DTYPE" in flags else 1
        remat = 4 if "config.T5Config.remat" in flags else 1
        arguments = setup.weights / size / half
        return types.SimpleNamespace(
            arguments=arguments, peak=arguments + setup.states / half / remat / parts
        )

    def compiled(built, on):
        return estimate.Compiled(built.peak <= on.chip.memory, int(built.peak), 1.0)

    monkeypatch.setattr(program, "build", build)
    monkeypatch.setattr(estimate, "compile_program", compiled)
    monkeypatch.setattr(
        estimate, "counted", lambda built, on: types.SimpleNamespace(arguments=built.arguments)
    )

    def run(weights, states, step="train", name="v5e:4x4", given=()):
        tried = []

        def read(overrides):
            return types.SimpleNamespace(
                step=step,
                overrides=[*given, *overrides],
                weights=weights * 2**30,
                states=states * 2**30,
                model=types.SimpleNamespace(config=frozenset([*given, *overrides[1:4]])),
                restore=None,
                num_microbatches=tuple(overrides[4:]),
            )

        found = suggest.search(read, topology.parse(name), lambda *told: tried.append(told))
        return found.overrides, tried

    return run


@pytest.mark.parametrize(
    ("weights", "states", "expected"),
    [
        (1, 1, ["=1"]),  # weights, and what a step adds to them: GiB of all chips of v5e's 15.75
        (12, 3, ["=1"]),
        (20, 5, ["=1", "DTYPE=bfloat16"]),
        (20, 12, ["=1", "DTYPE=bfloat16", *REMAT]),
        (25, 50, ["=1", "DTYPE=bfloat16", *REMAT, PARTS + "2"]),
        (25, 99, ["=1", "DTYPE=bfloat16", *REMAT, PARTS + "4"]),
        (70, 8, ["=4", "DTYPE=bfloat16"]),
    ],
)
def test_the_first_that_fits_wins_after_few_compilations(search, weights, states, expected):
    overrides, tried = search(weights, states)
    assert overrides == [PARTITIONS + expected[0], *expected[1:]]
    compiled = [(flags, outcome) for flags, outcome in tried if "GiB" in outcome]
    assert (overrides, "fits") in [(flags, outcome.split(",")[0]) for flags, outcome in compiled]
    assert len(compiled) <= 5 - 2 * (weights == 1)


def test_what_cannot_be_built_is_passed_over(search):
    overrides, tried = search(300, 1)
    assert overrides == [f"{PARTITIONS}=16", "DTYPE=bfloat16"]
    outcomes = {outcome for flags, outcome in tried if flags[0].endswith("=8")}
    assert outcomes == {"Parameter wi"}
    assert {o for flags, o in tried if flags[0].endswith("=1")} == {
        "the arguments alone do not fit"
    }


def test_what_the_files_say_already_is_compiled_once(search):
    overrides, tried = search(25, 50, given=("DTYPE=bfloat16", *REMAT))
    assert overrides == [f"{PARTITIONS}=1", "DTYPE=bfloat16", *REMAT, PARTS + "2"]
    assert [flags for flags, _ in tried if PARTS not in flags[-1]] == [[f"{PARTITIONS}=1"]]


def test_decoding_has_neither_remat_nor_microbatches(search):
    with pytest.raises(UserError, match="nothing that was tried fits on v5e:4x4"):
        search(1000, 1, step="predict")
    _, tried = search(60, 8, step="predict")
    assert all(len(flags) <= 2 for flags, _ in tried)
