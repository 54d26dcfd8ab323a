"""What `t5x eval` and `t5x infer` set themselves, before the overrides.

The shipped files say for training runs which tasks and lengths these have. A run's product knows
its own, so there they are None, unless the user sets them, in a file or on the command line.
"""

from collections.abc import Sequence

from mpt_jax.configuration import gin_source

_OF_PRODUCTS = ("TASK_FEATURE_LENGTHS", "MIXTURE_OR_TASK_NAME")
_COMMANDS = ("eval", "infer")


def presets(command: str, files: Sequence[str], search_paths: Sequence[str] = ()) -> list[str]:
    """Overrides "NAME=VALUE" to give to `config.parse` as presets for a sub-command of `t5x`.

    Raises:
        UserError: a file that is not there or cannot be parsed.
    """
    if command not in _COMMANDS:
        return []
    values = gin_source.read(files, (), search_paths).values()
    return [f"{name}=None" for name in _OF_PRODUCTS if name in values and values[name].shipped]
