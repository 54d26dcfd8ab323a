"""How a prompt [P, D] may start, named as in Lester et al. 2021 (section 3.2) and PEFT.

Every initialiser is a function `(rng, length, start) -> [P, D] float32`; a gin file picks one by
reference, e.g. `prompt_tuning.PromptTuning.initializer = @initializers.class_labels`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mpt_jax import hosts, prompt_file, prompts
from mpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Start:
    """What is known when a method starts, after the backbone was loaded.

    Attributes:
        embedding: [V, D] the backbone's token embedding.
        vocabulary: the seqio vocabulary of the inputs.
        tasks: names of the run's K tasks.
        label_words: task -> label words; empty for tasks without.
        backbone: fingerprint of the backbone.
    """

    embedding: jax.Array
    vocabulary: Any
    tasks: tuple[str, ...]
    label_words: Mapping[str, tuple[str, ...]]
    backbone: str

    def load_prompts(self, path: str) -> tuple[dict[str, np.ndarray], prompt_file.PromptInfo]:
        """Read a prompt file and refuse one of another backbone (UserError)."""
        bank, info = prompt_file.load(path)
        prompt_file.check_backbone(
            path, info, self.embedding.shape[1], self.embedding.shape[0], self.backbone
        )
        return bank, info


Initializer = Callable[[jax.Array, int, Start], jax.Array]


def sampled_vocabulary(
    rng: jax.Array, length: int, start: Start, most_common: int = 5000
) -> jax.Array:
    """Embeddings of `length` different pieces among the `most_common` first of the vocabulary.

    SentencePiece orders its pieces by frequency; the three special ids are left out. The default
    of Lester et al. 2021 and of the paper.
    """
    pieces = jnp.arange(3, min(most_common, _base_size(start)))
    if length > len(pieces):
        raise UserError(
            f"a prompt of length {length} cannot be sampled from {len(pieces)} pieces: shorten "
            "PROMPT_LENGTH or raise sampled_vocabulary.most_common."
        )
    return _rows(start, jax.random.choice(rng, pieces, (length,), replace=False))


def class_labels(rng: jax.Array, length: int, start: Start) -> jax.Array:
    """The mean embedding of each label word's pieces, then sampled vocabulary for the rest.

    With more label words than `length`, the first `length` are used.

    Raises:
        UserError: no task of the run has label words.
    """
    words = list(dict.fromkeys(word for t in start.tasks for word in start.label_words[t]))
    if not words:
        raise UserError(
            f"initializers.class_labels: the tasks {', '.join(start.tasks)} have no label words; "
            "use initializers.sampled_vocabulary."
        )
    means = [_rows(start, _encode(start, word)).mean(axis=0) for word in words[:length]]
    rest = length - len(means)
    labels = jnp.stack(means)
    return labels if rest == 0 else jnp.concatenate([labels, sampled_vocabulary(rng, rest, start)])


def text(rng: jax.Array, length: int, start: Start, text: str) -> jax.Array:
    """The embeddings of a text's pieces, repeated or cut to `length`.

    Raises:
        UserError: the text has no pieces.
    """
    del rng
    ids = _encode(start, text)
    if not len(ids):
        raise UserError("initializers.text needs a text with at least one piece.")
    return _rows(start, np.resize(ids, length))


def random_uniform(rng: jax.Array, length: int, start: Start, scale: float = 0.5) -> jax.Array:
    """Uniform in [-scale, scale], as Lester et al. 2021."""
    return jax.random.uniform(rng, (length, start.embedding.shape[1]), minval=-scale, maxval=scale)


def from_prompt_file(
    rng: jax.Array, length: int, start: Start, path: str, task: str | None = None
) -> jax.Array:
    """A prompt of another run, composed: of one `task`, or of the mean task (default).

    Raises:
        UserError: no such file or task, another backbone, another length.
    """
    del rng
    bank, info = start.load_prompts(path)
    one = (
        prompts.mean_factors(bank) if task is None else prompts.select_task(bank, info.tasks, task)
    )
    prompt = prompts.compose(jax.tree.map(jnp.asarray, one), jnp.zeros((1,), jnp.int32))[0]
    if prompt.shape[0] != length:
        raise UserError(
            f"prompt file {path} holds prompts of length {prompt.shape[0]}, this run asks for "
            f"{length}: set PROMPT_LENGTH = {prompt.shape[0]}."
        )
    return prompt


def _base_size(start: Start) -> int:
    """Number of ordinary pieces: V without sentinels and padding rows."""
    extra = getattr(start.vocabulary, "extra_ids", 0)
    return min(start.vocabulary.vocab_size - extra, start.embedding.shape[0])


def _encode(start: Start, text: str) -> np.ndarray:
    return np.asarray(start.vocabulary.encode(text), np.int32)


def _rows(start: Start, ids: jax.Array | np.ndarray) -> jax.Array:
    # Whole on this host only where rows are asked for: most runs start from a prompt file.
    return jnp.asarray(hosts.fetch(start.embedding)[np.asarray(ids)]).astype(jnp.float32)
