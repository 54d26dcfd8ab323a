"""Modules of the user's own, which a setting names: imported to register tasks or methods."""

import importlib

import gin

from mpt_jax.errors import UserError


def load(name: str, setting: str) -> None:
    """Imports the module; what it registers with gin is accepted although gin's files are read.

    `import t5.data`, for one, registers configurables, and gin is locked once a run has started.

    Args:
        name: of the module.
        setting: the macro that names it.

    Raises:
        UserError: the module, or one that it imports, is not there.
    """
    try:
        with gin.unlock_config():
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"Cannot import {setting} {name!r}: {error}.") from error
