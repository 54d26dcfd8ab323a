"""The few programs that answer all requests from one bank: nothing is compiled for a request."""

import concurrent.futures
import itertools
from collections.abc import Sequence

import numpy as np

from mpt_jax.api import LoadedModel
from mpt_jax.engine.inference.predictor import Prediction, Row, label_tokens
from mpt_jax.errors import UserError, shown

_SHORTEST = 8  # the narrowest program has an eighth of the longest text's tokens
_MOST_LABELS = 32  # that are scored at once; of a text with more, some at a time
_LABEL_TOKENS = 8  # that labels of a request may have, though those of the bank have fewer
_COMPILED_AT_ONCE = 2


class Programs:
    """A loaded model, in batches of three sizes and of few lengths.

    Attributes:
        t5: the model.
        widths: tokens of the texts of a batch, in order.
        sizes: rows of a batch, in order.
        labels: labels that a row of `rank` has at most.
        label_length: tokens that a label has at most, end token included.
    """

    def __init__(self, t5: LoadedModel):
        predictor = t5.predictor
        self.t5 = t5
        limit, most = predictor.widths[-1], predictor.batch_size
        self.widths = [width for width in predictor.widths if _SHORTEST * width >= limit]
        self.sizes = sorted({predictor.rows_for(count) for count in (1, most // 4, most)})
        words = [words for words in predictor.model.label_words.values() if words] or [["yes"]]
        least = (4, min(t5.lengths["targets"], _LABEL_TOKENS))
        tokens = label_tokens(predictor.model.output_vocabulary, words, len(words), least)
        self.labels = min(_MOST_LABELS, 1 << (tokens.shape[1] - 1).bit_length())
        self.label_length = tokens.shape[2]

    def __len__(self) -> int:
        """How many they are: for predicting and for scoring."""
        return 2 * len(self.sizes) * len(self.widths)

    def are_those_of(self, other: "Programs") -> bool:
        """Whether nothing is left to compile where the other's are compiled."""
        ours, theirs = ((x.labels, x.label_length) for x in (self, other))
        return ours == theirs and self.t5.predictor.has_programs_of(other.t5.predictor)

    def width_of(self, row: Row) -> int:
        """Tokens of the narrowest batch that the row fits into."""
        return next(width for width in self.widths if len(row.ids) <= width)

    def size_for(self, count: int) -> int:
        """Rows of the smallest batch for so many; at most the batch size."""
        return next(size for size in self.sizes if count <= size)

    def check_label(self, label: str) -> None:
        """Refuses a label that no program is long enough for (UserError)."""
        length = len(self.t5.predictor.model.output_vocabulary.encode(label)) + 1
        if length > self.label_length:
            raise UserError(
                f"the label {shown(label)} has {length} tokens, and labels of at most "
                f"{self.label_length} are scored here: shorten it."
            )

    def predict(self, rows: Sequence[Row], width: int) -> list[Prediction]:
        """Predictions for rows of at most `width` tokens, at most a batch."""
        return self.t5.predictor.predict(rows, self.size_for(len(rows)), width=width)

    def rank(
        self, rows: Sequence[Row], labels: Sequence[Sequence[str]], width: int
    ) -> list[np.ndarray]:
        """Log-likelihoods of each row's labels, at most `self.labels`, as `Predictor.rank`."""
        size, least = self.size_for(len(rows)), (self.labels, self.label_length)
        return self.t5.predictor.rank(rows, labels, size, width, least)

    def compile(self) -> None:
        """Compile all programs."""
        row = Row("", [self.t5.predictor.model.input_vocabulary.eos_id], 0, False)

        def compile_shape(shape: tuple[int, int]) -> None:
            rows = [row] * shape[0]
            self.predict(rows, shape[1])
            self.rank(rows, [["a"]] * shape[0], shape[1])

        with concurrent.futures.ThreadPoolExecutor(_COMPILED_AT_ONCE) as pool:
            list(pool.map(compile_shape, itertools.product(self.sizes, self.widths)))
