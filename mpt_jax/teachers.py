"""The first phase of source training: one prompt per source task, trained in one program."""

import os
from collections.abc import Callable

from mpt_jax import run_layout
from mpt_jax.product import product_file


def teacher_prompts(prompt_file_path: str | None, train: Callable[..., str], model_dir: str) -> str:
    """The teachers' prompt file; trains it first where the user gave none.

    Bound in `gin/mpt_source.gin` as the value of `Distillation.teacher_prompts`, so that a source
    run is one command: gin calls this while it builds the student's model.

    Args:
        prompt_file_path: a prompt file (or run folder) to use as it is; None trains one.
        train: the training run of the teachers; takes `model_dir`, returns the folder with its
            product. A run that was finished before returns at once; an interrupted one resumes.
        model_dir: the source run's folder; teachers go to `<model_dir>/teachers`.

    Returns:
        path of the prompt file.

    Raises:
        UserError: `prompt_file_path` is not a prompt file.
    """
    if prompt_file_path is not None:
        return product_file.resolve(prompt_file_path)
    return product_file.resolve(train(model_dir=os.path.join(model_dir, run_layout.TEACHERS)))
