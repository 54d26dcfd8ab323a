"""Packaging of mpt_jax: `pip install .` gives the package, its gin files and the mini backbone."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

# Lower bounds are the versions the test suite last passed with (constraints.txt);
# upper bounds stop before the next release that may break an interface we use.
REQUIRES = [
    "jax>=0.10.2,<0.11",
    "flax>=0.12.8,<0.13",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "clu>=0.0.12,<0.1",
    "seqio>=0.0.20,<0.1",
    "tensorflow>=2.21.0,<2.22",
    "tensorflow-datasets>=4.9.10,<4.10",
    "importlib_resources>=7.1.0,<8",  # tensorflow-datasets 4.9.10 imports it undeclared
    "gin-config>=0.5.0,<0.6",
    "etils[epath]>=1.15,<2",
    "numpy>=2.4.6,<3",
    "safetensors>=0.8.0,<0.9",
    "ml_dtypes>=0.6.0,<0.7",
    "tensorstore>=0.1.86,<0.2",
    "msgpack>=1.2.4,<2",
    "sentencepiece>=0.2.3,<0.3",
    "scikit-learn>=1.9.1,<2",
    "scipy>=1.17.1,<2",
    "sacrebleu>=2.6.0,<3",
    "matplotlib>=3.11.2,<4",
    "rich>=15.0.0,<16",
]
SERVE = [
    "starlette>=1.10.0,<2",
    "uvicorn>=0.54.0,<0.55",
    "prometheus_client>=0.26.0,<0.27",
]
TEST = [
    *SERVE,
    "pytest>=9.2.0,<10",
    "pytest-timeout>=2.4,<3",
    "pytest-xdist>=3.8,<4",
    "hypothesis>=6.170.15,<7",
]
# The TPU compiler of our jax, for `t5x plan` on any machine; no test or target needs it.
TPU_CHECK = ["libtpu==0.0.42.*"]
DEV = [*TEST, "ruff>=0.17.5,<0.20", "build>=1.6.1,<2"]

setuptools.setup(
    name="mpt-jax",
    version="0.1.0",
    description="Multitask Prompt Tuning for T5 in JAX: many tasks, one frozen backbone.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8")
    if (ROOT / "README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        "mpt_jax",
        *(f"mpt_jax.{name}" for name in setuptools.find_packages("mpt_jax")),
        "mpt_jax.tasks",
        *(f"mpt_jax.tasks.{name}" for name in setuptools.find_packages("tasks")),
        "mpt_jax.gin",
    ],
    # `gin/` has no __init__.py on purpose: a regular package of that name in the
    # working directory would shadow gin-config.
    package_dir={"mpt_jax": "mpt_jax", "mpt_jax.tasks": "tasks", "mpt_jax.gin": "gin"},
    package_data={
        "mpt_jax": ["assets/*/*"],
        "mpt_jax.gin": ["*.gin", "*/*.gin", "sweeps/*.toml"],
    },
    install_requires=REQUIRES,
    extras_require={"serve": SERVE, "test": TEST, "dev": DEV, "tpu_check": TPU_CHECK},
    entry_points={"console_scripts": ["t5x = mpt_jax.cli:main"]},
)
