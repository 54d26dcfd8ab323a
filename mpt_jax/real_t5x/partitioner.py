"""T5X's partitioner on our mesh."""

from jax.sharding import Mesh
from t5x import partitioning

from mpt_jax.engine.partitioning import MODEL, PjitPartitioner


class Partitioner(partitioning.PjitPartitioner):
    """T5X's, with the mesh and the rules of ours.

    T5X's own choice of a mesh ignores `num_partitions` on a CPU.
    """

    def __init__(self, own: PjitPartitioner):
        super().__init__(
            num_partitions=own.mesh.shape[MODEL], logical_axis_rules=own.logical_axis_rules
        )
        self._own_mesh = own.mesh

    @property
    def mesh(self) -> Mesh:
        """Devices [data partitions, model partitions]."""
        return self._own_mesh
