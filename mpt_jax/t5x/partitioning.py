"""T5X's `partitioning` names."""

from mpt_jax.engine.partitioning import PjitPartitioner, standard_logical_axis_rules

__all__ = ["PjitPartitioner", "standard_logical_axis_rules"]
