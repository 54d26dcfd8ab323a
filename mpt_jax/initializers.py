"""How a prompt [P, D] may start, named as in Lester et al. 2021 (section 3.2) and PEFT.

Every initialiser is a function `(rng, length, context) -> [P, D] float32`; a gin file picks one by
reference, e.g. `prompt_tuning.PromptTuning.initializer = @initializers.class_labels`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax import hosts, prompts
from mpt_jax.errors import UserError, shown
from mpt_jax.product import belonging, product_file
from mpt_jax.product.description import ProductInfo
from mpt_jax.product.leaves import AXES
from mpt_jax.vocabulary import digest


@dataclasses.dataclass(frozen=True)
class Context:
    """What is known when a method starts, after the backbone was loaded.

    Attributes:
        embedding: [V, D] the backbone's token embedding.
        vocabulary: the seqio vocabulary of the inputs.
        tasks: names of the run's K tasks.
        label_words: task -> label words; empty for tasks without.
        backbone: fingerprint of the backbone's frozen part.
        backbone_bits: its bits below the fingerprint's.
        arithmetic: what it computes with (`T5Config.arithmetic`).
        backbone_shapes: nested dict of the backbone's parameters, or of what has their shapes.
    """

    embedding: jax.Array
    vocabulary: Any
    tasks: tuple[str, ...]
    label_words: Mapping[str, tuple[str, ...]]
    backbone: str
    backbone_shapes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone_bits: str = ""
    arithmetic: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load_prompts(self, path: str) -> tuple[dict[str, np.ndarray], ProductInfo]:
        """Read the prompts of a finished run.

        Raises:
            UserError: those of another backbone, or a product that is more than a prompt bank.
        """
        bank, info = product_file.load(path)
        self.check_product(path, info)
        if not bank.keys() <= AXES.keys():
            raise UserError(
                f"{path} is the product of the method {info.method!r}, which no other method can "
                "start from: give the prompts of a source run (gin/mpt_source.gin) or of prompt "
                "tuning."
            )
        return bank, info

    def check_product(self, path: str, info: ProductInfo) -> None:
        """Refuse the product of a run on another backbone or vocabulary (UserError)."""
        width, size = self.embedding.shape[1], self.embedding.shape[0]
        belonging.check_backbone(path, info, width, size, self.backbone, self.backbone_bits)
        belonging.check_arithmetic(path, info, self.arithmetic)
        if (here := digest(self.vocabulary)) and info.vocabulary not in ("", here):
            raise UserError(
                f"prompt file {path} was trained with another vocabulary than this run's: one of "
                "the two SentencePiece files is wrong or damaged; copy the backbone's again."
            )


Initializer = Callable[[jax.Array, int, Context], jax.Array]


def sampled_vocabulary(
    rng: jax.Array, length: int, context: Context, most_common: int = 5000
) -> jax.Array:
    """Embeddings of `length` different pieces among the `most_common` first of the vocabulary.

    SentencePiece orders its pieces by frequency; special ids are left out. The default of Lester
    et al. 2021 and of the paper. Of bytes (ByT5) all 256 are alike.

    Raises:
        UserError: there are not as many pieces.
    """
    known = context.vocabulary
    special = {known.pad_id, known.eos_id, known.unk_id, known.bos_id}
    ids = range(min(most_common, _base_size(context)))
    pieces = jnp.array([i for i in ids if i not in special], jnp.int32)
    if length > len(pieces):
        more = "raise sampled_vocabulary.most_common"
        if len(ids) < most_common:
            more = "use initializers.text or initializers.random_uniform"
        raise UserError(
            f"a prompt of length {length} cannot be sampled from {len(pieces)} pieces: shorten "
            f"PROMPT_LENGTH or {more}."
        )
    return _rows(context, jax.random.choice(rng, pieces, (length,), replace=False))


def class_labels(rng: jax.Array, length: int, context: Context) -> jax.Array:
    """The mean embedding of each label word's pieces, then sampled vocabulary for the rest.

    With more label words than `length`, the first `length` are used.

    Raises:
        UserError: no task of the run has label words, or one of them has no pieces.
    """
    words = list(dict.fromkeys(word for t in context.tasks for word in context.label_words[t]))
    if not words:
        raise UserError(
            f"initializers.class_labels: the tasks {', '.join(context.tasks)} have no label words; "
            "use initializers.sampled_vocabulary."
        )
    ids = {word: _encode(context, word) for word in words[:length]}
    if empty := [word for word in ids if not len(ids[word])]:
        raise UserError(
            f"initializers.class_labels: the label word {shown(empty[0])} has no pieces in the "
            "vocabulary: choose another word."
        )
    means = [_rows(context, of_word).mean(axis=0) for of_word in ids.values()]
    rest = length - len(means)
    labels = jnp.stack(means)
    return (
        labels if rest == 0 else jnp.concatenate([labels, sampled_vocabulary(rng, rest, context)])
    )


def text(rng: jax.Array, length: int, context: Context, text: str) -> jax.Array:
    """The embeddings of a text's pieces, repeated or cut to `length`.

    Raises:
        UserError: the text has no pieces.
    """
    del rng
    ids = _encode(context, text)
    if not len(ids):
        raise UserError("initializers.text needs a text with at least one piece.")
    return _rows(context, np.resize(ids, length))


def random_uniform(rng: jax.Array, length: int, context: Context, scale: float = 0.5) -> jax.Array:
    """Uniform in [-scale, scale], as Lester et al. 2021."""
    return jax.random.uniform(
        rng, (length, context.embedding.shape[1]), minval=-scale, maxval=scale
    )


def within_fan_in(rng: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Uniform in ±1 / sqrt(fan_in), float32: how PyTorch, and so the rivals' code, starts a layer.

    Args:
        rng: PRNG key.
        shape: of a kernel, its bias, or a matrix.
        fan_in: numbers that each output of the layer is made of.
    """
    bound = fan_in**-0.5
    return jax.random.uniform(rng, shape, minval=-bound, maxval=bound)


@dataclasses.dataclass(frozen=True)
class FromPromptFile:
    """A prompt of another run, composed (SPoT, Vu et al. 2022).

    Attributes:
        path: prompt file, or the run folder that holds it.
        task: whose prompt; None: of the mean task.

    Raises:
        UserError: no such file; when called: no such task, another backbone, another length.
    """

    path: str
    task: str | None = None

    def __post_init__(self):
        product_file.resolve(self.path)  # refused before a large backbone is read

    def __call__(self, rng: jax.Array, length: int, context: Context) -> jax.Array:
        """[P, D]."""
        del rng
        bank, info = context.load_prompts(self.path)
        if self.task is None:
            one = prompts.mean_factors(bank)
        else:
            one = prompts.select_task(bank, info.tasks, self.task)
        return _composed(self.path, one, 1, length)[0]


@dataclasses.dataclass(frozen=True)
class MostSimilar:
    """The source task's prompt that is nearest to a first prompt of the target task.

    SPoT's retrieval (Vu et al. 2022, section 3): the embedding of a task is its prompt after a
    short prompt tuning, averaged over positions; the source with the largest cosine wins.

    Attributes:
        path: prompt file (or run folder) of the sources.
        target_prompts: that of a short prompt-tuning run on the run's tasks.

    Raises:
        UserError: no such file; when called: the target file lacks the task, another backbone,
            another length.
    """

    path: str
    target_prompts: str

    def __post_init__(self):
        product_file.resolve(self.path)
        product_file.resolve(self.target_prompts)

    def __call__(self, rng: jax.Array, length: int, context: Context) -> jax.Array:
        """[P, D]; one for all tasks of the run is chosen by their mean prompt."""
        del rng
        bank, info = context.load_prompts(self.path)
        sources = _composed(self.path, bank, len(info.tasks), length)
        first, first_info = context.load_prompts(self.target_prompts)
        chosen = [prompts.select_task(first, first_info.tasks, task) for task in context.tasks]
        targets = [_composed(self.target_prompts, one, 1, length)[0] for one in chosen]
        similarity = _cosine(sources.mean(axis=1), jnp.stack(targets).mean(axis=(0, 1)))
        return sources[jnp.argmax(similarity)]


def _composed(path: str, bank: prompts.Bank, tasks: int, length: int) -> jax.Array:
    """The prompts [K, P, D] of a bank of K tasks, whose length must be that of the run."""
    found = prompts.compose(jax.tree.map(jnp.asarray, bank), jnp.arange(tasks))
    if found.shape[1] != length:
        raise UserError(
            f"prompt file {path} holds prompts of length {found.shape[1]}, this run asks for "
            f"{length}: set PROMPT_LENGTH = {found.shape[1]}."
        )
    return found


def _cosine(many: jax.Array, one: jax.Array) -> jax.Array:
    """[N, D], [D] -> [N]."""
    return many @ one / (jnp.linalg.norm(many, axis=1) * jnp.linalg.norm(one))


def _base_size(context: Context) -> int:
    """Number of ordinary pieces: V without sentinels and padding rows."""
    extra = getattr(context.vocabulary, "extra_ids", 0)
    return min(context.vocabulary.vocab_size - extra, context.embedding.shape[0])


def _encode(context: Context, text: str) -> np.ndarray:
    return np.asarray(context.vocabulary.encode(text), np.int32)


def _rows(context: Context, ids: jax.Array | np.ndarray) -> jax.Array:
    # Whole on this host only where rows are asked for: most runs start from a prompt file.
    return jnp.asarray(hosts.fetch(context.embedding)[np.asarray(ids)]).astype(jnp.float32)
