"""Training metrics as clu metrics: sums that merge over microbatches, hosts and steps."""

import flax
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics


@flax.struct.dataclass
class PerTask(clu_metrics.Metric):
    """A mean per task: `total` [K] over `count` [K], float32; a task without data gives nan."""

    total: jax.Array
    count: jax.Array

    @classmethod
    def from_examples(
        cls, values: jax.Array, weights: jax.Array, task_ids: jax.Array, num_tasks: int
    ) -> "PerTask":
        """Sums per-example `values` [B] and `weights` [B] into their tasks' slots."""
        return cls(
            total=jax.ops.segment_sum(values, task_ids, num_tasks),
            count=jax.ops.segment_sum(weights, task_ids, num_tasks),
        )

    def merge(self, other: "PerTask") -> "PerTask":
        """The metric over both sets of examples."""
        return PerTask(total=self.total + other.total, count=self.count + other.count)

    def compute(self) -> jax.Array:
        """[K] float32 means."""
        return jnp.where(self.count > 0, self.total / jnp.maximum(self.count, 1e-9), jnp.nan)


@flax.struct.dataclass
class Sum(clu_metrics.Metric):
    """A sum over microbatches of terms that were already divided by the batch's count."""

    total: jax.Array

    def merge(self, other: "Sum") -> "Sum":
        """The sum over both."""
        return Sum(total=self.total + other.total)

    def compute(self) -> jax.Array:
        """Scalar float32."""
        return self.total
