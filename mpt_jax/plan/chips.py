"""The TPU chips that a plan can be made for.

Numbers are Google's, of the page on each version (https://cloud.google.com/tpu/docs/v4, v5e, v5p,
v6e), with two exceptions: the memory is what the compiler of libtpu 0.0.42 lets a program use, and
v4's links are those of Jouppi et al. 2023 (arXiv:2304.01433), section 2. The pages state links for
both directions together; half of it is one.
"""

import dataclasses

GIB, GB, TERA = 2**30, 1e9, 1e12


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip, and how its slices are described to the compiler.

    Attributes:
        memory: bytes of HBM that a program may use.
        flops: bfloat16 operations per second.
        bandwidth: of HBM, bytes per second.
        links: bytes per second to all neighbours together, in one direction.
        axes: of the grid of a slice.
        largest: chips along one axis.
        cores: libtpu's name for the way its cores are used; None: the default.
    """

    memory: float
    flops: float
    bandwidth: float
    links: float
    axes: int
    largest: int
    cores: str | None = None


CHIPS = {
    "v4": Chip(30.75 * GIB, 275 * TERA, 1200 * GB, 300 * GB, 3, 16, "megacore"),
    "v5e": Chip(15.75 * GIB, 197 * TERA, 819 * GB, 200 * GB, 2, 16),
    "v5p": Chip(95.74 * GIB, 459 * TERA, 2765 * GB, 600 * GB, 3, 24),
    "v6e": Chip(31.25 * GIB, 918 * TERA, 1638 * GB, 400 * GB, 2, 16),
}
# The slices that messages name; others of an even number of chips along x and y are known too.
SLICES = {
    2: ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"),
    3: ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16"),
}
