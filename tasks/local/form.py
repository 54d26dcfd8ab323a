"""How a row of a user's file becomes an example: label words, numbers, several right answers."""

import decimal
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mpt_jax.errors import UserError, did_you_mean, shown
from mpt_jax.tasks.local.template import BadRow, RawRow, Template, plain, some


class Example(NamedTuple):
    """One example; `answers` has one right answer or, where the metrics take them, several."""

    inputs: str
    answers: tuple[str, ...]


class Form:
    """From a raw row to an `Example`.

    Args:
      inputs, targets: templates; a list in a field of `targets` gives several right answers.
      label_words: the words that a target can be, or raw target -> word; None: any text.
      round_to: targets are numbers, written as the nearest multiple of this (ties to even), with
        as many decimals: 0.2 makes 2.5 "2.4", as T5 writes the similarity scores of STS-B.
      numbers: targets must be numbers.
      several: a row may have several right answers.

    Raises:
      UserError: a template that is not one, label words or a step that cannot be.
    """

    def __init__(
        self,
        inputs: str,
        targets: str,
        *,
        label_words: Sequence[str] | Mapping[Any, str] | None,
        round_to: float | None,
        numbers: bool,
        several: bool,
    ):
        self._inputs = Template(inputs, "inputs")
        self._targets = Template(targets, "targets")
        self._words = None if label_words is None else _words(label_words)
        self._step = None if round_to is None else _step(round_to)
        if self._words is not None and self._step is not None:
            raise UserError("label_words and round_to exclude each other: give one of them.")
        for word in self.label_words if numbers else ():
            if not _is_number(word):
                raise UserError(f"label_words: the metrics need numbers, but {word!r} is none.")
        self._numbers = numbers or self._step is not None
        self._several = several

    @property
    def label_words(self) -> tuple[str, ...]:
        """The words that a target can be, each once, as declared; () if they can be any text."""
        return tuple(dict.fromkeys((self._words or {}).values()))

    def example(self, row: RawRow) -> Example:
        """The example of one row.

        Raises:
          BadRow: why there is none.
        """
        inputs = self._inputs.fill(row)
        if not inputs.strip() or self._inputs.is_blank(row):
            raise BadRow("the inputs are empty")
        answers = tuple(self._answer(text) for text in self._targets.fill_each(row))
        if len(answers) > 1 and not self._several:
            raise BadRow(
                f"it has {len(answers)} right answers; several need the metrics exact_match, f1 "
                "or bleu"
            )
        try:
            "".join((inputs, *answers)).encode("utf-8")
        except UnicodeEncodeError:
            raise BadRow("its text holds half a character (a lone surrogate)") from None
        return Example(inputs, answers)

    def _answer(self, text: str) -> str:
        if self._words is not None:
            return self._word(text)
        if self._numbers:
            return self._number(text)
        if not text.strip():
            raise BadRow("the target is empty")
        return text

    def _word(self, text: str) -> str:
        if text not in self._words:
            raise BadRow(
                f"the label {shown(text)} is not one of {some(self._words)}."
                f"{did_you_mean(text, self._words, 1)}"
            )
        return self._words[text]

    def _number(self, text: str) -> str:
        if not _is_number(text):
            raise BadRow(f"the target {shown(text)} is not a number")
        if self._step is None:
            return text.strip()
        steps = (decimal.Decimal(text) / self._step).to_integral_value(decimal.ROUND_HALF_EVEN)
        decimals = max(0, -self._step.as_tuple().exponent)
        return f"{steps * self._step + 0:.{decimals}f}"  # + 0: no "-0.0"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _words(label_words: Sequence[str] | Mapping[Any, str]) -> dict[str, str]:
    if isinstance(label_words, str) or not label_words:
        raise UserError(
            f"label_words = {label_words!r}: give the words, as in ('negative', 'positive'), or "
            "what stands for each in the files, as in {0: 'negative', 1: 'positive'}."
        )
    pairs = (
        label_words.items()
        if isinstance(label_words, Mapping)
        else zip(label_words, label_words, strict=True)
    )
    words = {plain(raw): word for raw, word in pairs}
    for word in words.values():
        if not isinstance(word, str) or not word.strip():
            raise UserError(f"label_words: {word!r} is not a word.")
    return words


def _step(round_to: float) -> decimal.Decimal:
    if isinstance(round_to, bool) or not isinstance(round_to, int | float) or not round_to > 0:
        raise UserError(f"round_to = {round_to!r} must be a number above 0, as 0.2 or 1.")
    return decimal.Decimal(str(round_to))
