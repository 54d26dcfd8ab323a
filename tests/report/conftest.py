"""Synthetic run folders, as a training run leaves them."""

import numpy as np
import pytest
from run_folders import make_run


@pytest.fixture(name="make_run")
def _make_run(tmp_path):
    """`make_run` under the test's folder `runs`."""
    return lambda name, **kwargs: make_run(tmp_path / "runs" / name, **kwargs)


@pytest.fixture(name="read")
def _read(tmp_path):
    """Reads the runs under `runs`: (runs, problems), folders as names under it."""
    from mpt_jax.report import folders, runs

    return lambda: runs.read(folders.find([str(tmp_path / "runs")]))


@pytest.fixture(name="comparison", scope="module")
def _comparison(tmp_path_factory):
    """A small comparison: a source run, 2 methods and a variant × 2 tasks × 2 shots × 2 seeds."""
    root = tmp_path_factory.mktemp("comparison") / "runs"
    rng = np.random.default_rng(0)

    def leaf(*shape):
        return rng.normal(size=shape).astype(np.float32)

    names = ("mini_cloze", "mini_nli")
    bank = {"shared": leaf(3, 4), "task_u": leaf(2, 3, 1), "task_v": leaf(2, 1, 4)}
    make_run(root / "source", tasks=names, shots=None, bank=bank, source=True)
    make_run(root / "source/teachers", tasks=names, shots=None)
    scores = {"MPT": 60.0, "MPT without distillation": 55.0, "prompt <tuning> & more": 50.0}
    for i, (label, base) in enumerate(scores.items()):
        for j, task in enumerate(("mini_rte", "mini_wic")):
            for shots in (4, None):
                for seed in (0, 1):
                    one = {"shared": leaf(3, 4), "task_u": leaf(1, 3, 1), "task_v": leaf(1, 1, 4)}
                    make_run(
                        root / f"{i}-{task}-{shots}-{seed}",
                        label=label,
                        tasks=(task,),
                        shots=shots,
                        seed=seed,
                        test={task: base + 4 * j + 2 * seed + (10 if shots is None else 0)},
                        tuned=3000 if i < 2 else 2500,
                        bank=one if i < 2 else {"task_prompts": leaf(1, 3, 4)},
                        cost={} if i == 1 else {"seconds": 100 + 40 * seed, "product_bytes": 999},
                    )
    make_run(root / "stopped", label="MPT", tasks=("mini_rte",), shots=4, seed=7, reached=50)
    return root
