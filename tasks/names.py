"""The names of the tasks and mixtures that ship, for who must know them before SeqIO is imported.

With SeqIO comes TensorFlow, which takes seconds; a mistyped name is refused before that.
"""

from collections.abc import Collection

from mpt_jax.errors import UserError, did_you_mean

# What each module registers: `mini` when it is imported, `paper` by its `register`.
MINI = tuple(
    f"mini_{name}"
    for name in (
        *("nli", "qnli", "paraphrase", "sentiment", "qa", "cloze"),
        *("news_nli", "rte", "similarity", "acceptability", "wic", "coref", "boolq", "data2text"),
        *("span_corruption", "instructions", "seen_targets"),
        *("sources", "targets", "pretrain", "pretrain_seen"),
    )
)
PAPER = (
    *("mnli", "qqp", "qnli", "sst2", "stsb", "mrpc", "rte", "cola"),
    *("multirc", "boolq", "wic", "wsc", "cb", "record"),
    *("squad", "nq", "hotpotqa", "searchqa", "newsqa"),
    *("winogrande", "yelp", "scitail", "paws"),
    *("e2e", "webnlg"),
    *("glue", "super_glue", "mrqa", "others", "generation", "paper_sources", "paper_targets"),
)


def unknown(name: str, known: Collection[str]) -> UserError:
    """The refusal of a name that is not registered, with the nearest ones that are."""
    return UserError(
        f"Unknown task or mixture {name!r}.{did_you_mean(name, known)} "
        f"{len(known)} are registered; a task is known once the module that registers it "
        "is imported (MIXTURE_OR_TASK_MODULE)."
    )
