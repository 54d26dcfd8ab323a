"""For gin: a mesh of one device where there are four."""

import jax


def devices():
    """The first device alone."""
    return jax.devices()[:1]
