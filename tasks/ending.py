"""Whether a task's texts end with the end token also where they are cut."""

import functools

import seqio

SIDES = ("inputs", "targets")
_SHORT = 2  # tokens; nearly every text is longer


def sides_without_end(task: seqio.Task, split: str, use_cached: bool = False) -> list[str]:
    """The features whose end token is lost when a text is cut to its feature length.

    The first row of `split` is cut short to see. Features with `add_eos=False` want no end.
    """
    if seqio.preprocessors.append_eos_after_trim in map(_function, task.preprocessors):
        return []
    rows = task.get_dataset(
        dict.fromkeys(SIDES, _SHORT),
        split=split,
        use_cached=use_cached,
        shuffle=False,
        try_in_mem_cache=False,
    )
    row = next(rows.take(1).as_numpy_iterator(), {})
    return [side for side in SIDES if side in row and _lacks_end(task, side, row[side].tolist())]


def _lacks_end(task: seqio.Task, side: str, tokens: list[int]) -> bool:
    feature = task.output_features[side]
    return feature.add_eos and len(tokens) == _SHORT and tokens[-1] != feature.vocabulary.eos_id


def _function(step):
    return step.func if isinstance(step, functools.partial) else step
