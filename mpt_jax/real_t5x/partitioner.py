"""T5X's partitioner on our mesh."""

from jax.sharding import Mesh
from t5x import partitioning

from mpt_jax.engine.partitioning import MODEL, PjitPartitioner
from mpt_jax.errors import UserError


class Partitioner(partitioning.PjitPartitioner):
    """T5X's, with the mesh and the rules of ours.

    T5X's own choice of a mesh ignores `num_partitions` on a CPU.

    Raises:
        UserError: the hosts do not lie in the mesh as blocks, which T5X takes for granted where it
            gives each host its part of a batch.
    """

    def __init__(self, own: PjitPartitioner):
        super().__init__(
            num_partitions=own.mesh.shape[MODEL], logical_axis_rules=own.logical_axis_rules
        )
        self._own_mesh = own.mesh
        layout = self.get_data_layout()
        if (layout.shard_id, layout.num_shards) != own.data_shard:
            raise UserError(
                f"under T5X the rows of each host must lie together in the mesh {own.mesh.shape}: "
                "set partitioning.PjitPartitioner.num_partitions to a divisor or a multiple of a "
                "host's devices, or use --engine=mpt_jax."
            )

    @property
    def mesh(self) -> Mesh:
        """Devices [data partitions, model partitions]."""
        return self._own_mesh
