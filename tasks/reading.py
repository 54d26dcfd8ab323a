"""What is wrong with a task's data, in one line: which task, where its rows were looked for."""

import contextlib
from collections.abc import Iterator

import seqio

from mpt_jax.errors import UserError


@contextlib.contextmanager
def reading(task: seqio.Task, use_cached: bool = False) -> Iterator[None]:
    """Says of which task an error is that is raised while its data are read.

    Args:
      task: whose data.
      use_cached: whether its cache is read, not its source.

    Raises:
      UserError: for any error inside.
    """
    try:
        yield
    except UserError as error:
        if repr(task.name) in str(error):
            raise
        raise UserError(f"Task {task.name!r}: {error}") from error
    except Exception as error:  # SeqIO, TFDS and TensorFlow have no type in common
        place, remedy = _place(task, use_cached and task.supports_caching)
        raise UserError(
            f"Task {task.name!r}: cannot read its data {place} ({_cause(error)}). {remedy}"
        ) from error


def check_cache(task: seqio.Task) -> None:
    """Refuses a task that can be cached and is not.

    Raises:
      UserError: names the folders looked in.
    """
    if not task.supports_caching or task.cache_dir:
        return
    folders = list(seqio.get_global_cache_dirs())
    looked = ", ".join(f"{folder}/{seqio.get_task_dir_from_name(task.name)}" for folder in folders)
    raise UserError(
        f"Task {task.name!r} has no cache: looked in {looked or 'no folder, since none is named'}. "
        f"Write one with seqio_cache_tasks --tasks={task.name} --output_cache_dir=FOLDER, name the "
        "folder with --seqio_additional_cache_dirs=FOLDER, or leave use_cached unset."
    )


def check_vocabularies(task: seqio.Task) -> None:
    """Loads the vocabularies of a task's features.

    Raises:
      UserError: names the task, the feature and the file of one that cannot be read.
    """
    for name, feature in task.output_features.items():
        try:
            _ = feature.vocabulary.vocab_size
        except Exception as error:  # as above
            file = getattr(feature.vocabulary, "sentencepiece_model_file", None)
            raise UserError(
                f"Task {task.name!r}: cannot read the vocabulary of its {name}"
                f"{file and f', {file},'} ({_cause(error)}). Copy the file to where it can be "
                "read, and register the task with that path."
            ) from error


def _place(task: seqio.Task, cached: bool) -> tuple[str, str]:
    """Where the rows of a task lie, and what to do if they do not."""
    if cached:
        return f"in the cache {task.cache_dir}", "Write the cache again (seqio_cache_tasks)."
    source = getattr(task.source, "wrapped", task.source)
    if isinstance(source, seqio.TfdsDataSource):
        stored = source.tfds_dataset
        folder = stored.data_dir or "~/tensorflow_datasets, TFDS's own folder"
        return (
            f"in TFDS, {stored.name} in {folder}",
            'Prepare them once, on a machine with a network: python -c "import tensorflow_datasets '
            f"as tfds; tfds.builder('{stored.name}', data_dir={stored.data_dir!r})"
            '.download_and_prepare()"; or name their folder as tfds_data_dir.',
        )
    if isinstance(source, seqio.FileDataSource):
        return f"in {source}", "Put the files there, or register the task with their path."
    return f"from {source!r}", "Correct its source."


def _cause(error: Exception) -> str:
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200].rstrip(": .")
