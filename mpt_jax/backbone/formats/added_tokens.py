"""Tokens that Hugging Face's tokenizer files add to the vocabulary of a backbone.

T5's own special tokens and sentinels stand there too, and are in the vocabulary itself. Any other
has a trained row in the embedding that a text would never reach here, so its folder is refused.
"""

from collections.abc import Iterator
from typing import Any

from etils import epath

from mpt_jax import files
from mpt_jax.byte_vocabulary import Bytes
from mpt_jax.errors import UserError, shown
from mpt_jax.vocabulary import SentencePiece

_LISTED = 5

Token = tuple[str, int | None]  # its text and id, where that is stated


def check(folder: str, vocabulary: SentencePiece | Bytes) -> None:
    """Refuses a folder whose tokenizer has tokens that are not in the vocabulary at their ids.

    Args:
        folder: of a backbone or a vocabulary, on a disk or in a bucket (gs://).
        vocabulary: with its sentinels.

    Raises:
        UserError: names the file and the tokens; a file that is broken.
    """
    for name, tokens_in in _FILES.items():
        file = epath.Path(folder or ".") / name
        if not file.is_file():
            continue
        try:
            strange = [
                token for token in tokens_in(files.read_json(file)) if not vocabulary.has(*token)
            ]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{file} is not a Hugging Face tokenizer file: copy it again."
            ) from error
        if strange:
            some = ", ".join(shown(text) + _at(number) for text, number in strange[:_LISTED])
            more = f", ... ({len(strange)})" if len(strange) > _LISTED else ""
            lacks, remedy = "ByT5's vocabulary", "use a backbone without them"
            if isinstance(vocabulary, SentencePiece):
                lacks = vocabulary.file
                remedy = (
                    "put them into the SentencePiece model as user-defined pieces, at these ids, "
                    f"or {remedy}"
                )
            raise UserError(
                f"{file} adds tokens that {lacks} lacks: {some}{more}. They are not read here, and "
                f"what the backbone learnt of them would be lost: {remedy}."
            )


def _at(number: int | None) -> str:
    return "" if number is None else f" ({number})"


def _in_added_tokens(values: dict[str, Any]) -> Iterator[Token]:
    for text, number in values.items():
        yield text, int(number)


def _in_tokenizer(values: dict[str, Any]) -> Iterator[Token]:
    for token in values.get("added_tokens") or ():
        yield str(token["content"]), int(token["id"])


def _in_settings(values: dict[str, Any]) -> Iterator[Token]:
    for number, token in (values.get("added_tokens_decoder") or {}).items():
        yield str(token["content"]), int(number)
    for name in ("additional_special_tokens", "extra_special_tokens"):
        tokens = values.get(name) or ()
        for token in tokens.values() if isinstance(tokens, dict) else tokens:
            yield (token["content"] if isinstance(token, dict) else str(token)), None


_FILES = {
    "added_tokens.json": _in_added_tokens,
    "tokenizer_config.json": _in_settings,
    "tokenizer.json": _in_tokenizer,
}
