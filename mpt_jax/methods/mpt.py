"""Multitask prompt tuning (Wang et al. 2023): one shared prompt, rank-one factors per task."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax import initializers, prompts
from mpt_jax.errors import UserError
from mpt_jax.methods.base import PromptMethod, check_positive
from mpt_jax.product import product_file

MEAN = "mean"
SHARED_ONLY = "shared_only"


@dataclasses.dataclass(frozen=True)
class MPT(PromptMethod):
    """`P_k = P* ∘ (U_k V_k)`; trains P* (group "shared") and the factors (group "task").

    Attributes:
        prompt_length: P, 100 in the paper.
        rank: R of the factors, 1 in the paper.
        initializer: the shared prompt's start where there are no source prompts.
        source_prompts: prompt file (or run folder) of a source run to adapt from; None: a source
            run, which starts from `initializer` and unit factors.
        source_factors: the start of each target task's factors: "mean" of the source tasks'
            (the paper), the name of one source task, or "shared_only" (P* with unit factors).
    """

    prompt_length: int = 100
    rank: int = 1
    initializer: initializers.Initializer = initializers.sampled_vocabulary
    source_prompts: str | None = None
    source_factors: str = MEAN

    name = "mpt"

    def __post_init__(self):
        check_positive(self, "prompt_length", "rank")
        if self.source_prompts is not None:
            product_file.resolve(self.source_prompts)  # refused before a large backbone is read

    def bank_shapes(self, num_tasks: int, width: int):
        """`shared` [P, D], `task_u` [K, P, R], `task_v` [K, R, D]."""
        return prompts.factorized_shapes(num_tasks, self.prompt_length, width, self.rank)

    def start(self, context: initializers.Context, rng: jax.Array):
        """The bank of a source run, or of a target run that adapts `source_prompts`."""
        if self.source_prompts is not None:
            return {"prompt_bank": self._from_source(context, rng)}
        prompt_rng, factor_rng = jax.random.split(rng)
        shared = self.initializer(prompt_rng, self.prompt_length, context)
        return {"prompt_bank": {"shared": shared, **self._unit_factors(context, factor_rng)}}

    def _unit_factors(self, context: initializers.Context, rng: jax.Array) -> prompts.Bank:
        width = context.embedding.shape[1]
        return prompts.unit_factors(len(context.tasks), self.prompt_length, width, self.rank, rng)

    def _from_source(self, context: initializers.Context, rng: jax.Array) -> prompts.Bank:
        bank, info = context.load_prompts(self.source_prompts)
        if "shared" not in bank or info.length != self.prompt_length:
            raise UserError(
                f"source prompts {self.source_prompts} hold {info.method} prompts of length "
                f"{info.length}; this run adapts a shared prompt of length {self.prompt_length} "
                "(PROMPT_LENGTH)."
            )
        shared = {"shared": jnp.asarray(bank["shared"])}
        if self.source_factors == SHARED_ONLY:
            return {**shared, **self._unit_factors(context, rng)}
        if "task_u" not in bank:
            raise UserError(
                f"source prompts {self.source_prompts} have no task factors ({info.method}): set "
                f"MPT.source_factors = '{SHARED_ONLY}'."
            )
        if info.rank != self.rank:
            raise UserError(
                f"source prompts {self.source_prompts} have rank {info.rank}, this run asks for "
                f"{self.rank}: set MPT.rank = {info.rank}."
            )
        one = (
            prompts.mean_factors(bank)
            if self.source_factors == MEAN
            else prompts.select_task(bank, info.tasks, self.source_factors)
        )
        repeats = (len(context.tasks), 1, 1)
        factors = {leaf: jnp.asarray(np.tile(one[leaf], repeats)) for leaf in ("task_u", "task_v")}
        return {**shared, **factors}
