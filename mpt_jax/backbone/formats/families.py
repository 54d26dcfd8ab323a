"""Which model a folder of Hugging Face's holds: the one place that says what is read and what not.

model_type    models                                     what tells it from T5 v1.1
t5            T5, T5 v1.1, Flan-T5, T0, UL2, ByT5, ...   (v1.0: the head, the feed-forward layer)
mt5           mT5, mT0                                   nothing
umt5          umT5                                       a relative position bias in every layer

ByT5 differs in its vocabulary only, which `kind_of_vocabulary` tells.
"""  # noqa: D208  (the list is a table)

import dataclasses
from collections.abc import Mapping
from typing import Any

from etils import epath

from mpt_jax import byte_vocabulary, files
from mpt_jax.errors import UserError

CONFIG = "config.json"
SETTINGS = "tokenizer_config.json"
BYTES, SENTENCEPIECE = byte_vocabulary.NAME, "SentencePiece"

_TIED, _SCALED = "tie_word_embeddings", "scale_decoder_outputs"
_TOKENIZER = "tokenizer_class"


@dataclasses.dataclass(frozen=True)
class Family:
    """What a model_type means.

    Attributes:
        model_type: as in config.json.
        model: the class of transformers that reads it.
        scaled_by: the keys of config.json that say whether the decoder's output is divided by
            sqrt(D) before the logits, the first that is there; none: it is not.
        relpos_bias_per_layer: as `T5Config`.
    """

    model_type: str
    model: str
    scaled_by: tuple[str, ...]
    relpos_bias_per_layer: bool = False


# transformers 4 scaled where `tie_word_embeddings`; transformers 5 writes that key as true whatever
# the weights are, and for T5 the truth into `scale_decoder_outputs`. It never scales mT5.
T5 = Family("t5", "T5ForConditionalGeneration", (_SCALED, _TIED))
MT5 = Family("mt5", "MT5ForConditionalGeneration", ())
UMT5 = Family("umt5", "UMT5ForConditionalGeneration", (_TIED,), relpos_bias_per_layer=True)
FAMILIES = {family.model_type: family for family in (T5, MT5, UMT5)}

_OTHERS = {  # relatives of T5 that are other networks
    "longt5": "LongT5",
    "pix2struct": "Pix2Struct",
    "pop2piano": "Pop2Piano",
    "switch_transformers": "Switch Transformers",
    "t5gemma": "T5Gemma",
    "t5gemma2": "T5Gemma 2",
    "udop": "UDOP",
}
_READ = (
    f"a backbone is an encoder-decoder of model_type {', '.join(FAMILIES)} (T5, Flan-T5, T0, UL2, "
    "ByT5, mT5, umT5)"
)
# Tokenizers of transformers that stand for a SentencePiece model; the last two stand for any.
_OF_SENTENCEPIECE = ("T5Tokenizer", "MT5Tokenizer", "PreTrainedTokenizer", "TokenizersBackend")
_OF_BYTES = "ByT5Tokenizer"
SETTINGS_OF_BYTES = {_TOKENIZER: _OF_BYTES}  # a whole tokenizer_config.json, for transformers too
_OF_OTHERS = {"RobertaTokenizer": "CodeT5's", "MyT5Tokenizer": "MyT5's"}


def family_of(config: str, values: Mapping[str, Any]) -> Family:
    """The family that a `config.json` tells.

    Args:
        config: its path, for messages.
        values: its content.

    Raises:
        UserError: another architecture, which is named.
    """
    kind = str(values.get("model_type"))
    if kind not in FAMILIES:
        named = f"{_OTHERS[kind]}, " if kind in _OTHERS else ""
        kind = f"{named}model_type {kind!r}"
        raise UserError(f"{config} describes {kind}, which is not read: {_READ}.")
    models = values.get("architectures")
    for model in models if isinstance(models, list) else ():
        if str(model).endswith(("EncoderModel", "Classification", "QuestionAnswering")):
            what = "an encoder alone" if str(model).endswith("EncoderModel") else "no text-to-text"
            raise UserError(f"{config} describes {model}, {what}, which is not read: {_READ}.")
    return FAMILIES[kind]


def is_tied(values: Mapping[str, Any]) -> bool:
    """Whether a file without a head has the embedding for it."""
    return values.get(_TIED, True) is not False


def scaling(family: Family, values: Mapping[str, Any]) -> str | None:
    """The key of config.json that has the decoder's output divided by sqrt(D); None: it is not."""
    if not family.scaled_by:
        return None
    key = next((key for key in family.scaled_by if key in values), _TIED)
    scaled = is_tied(values) if key == _TIED else values[key]
    return key if scaled else None


def heads(family: Family, scaled: bool) -> dict[str, bool]:
    """The keys of a config.json that say what `scaling` reads, for transformers 4 and 5."""
    return {_TIED: scaled, **dict.fromkeys(family.scaled_by, scaled)}


def kind_of_vocabulary(folder: str) -> str:
    """`BYTES`, or else `SENTENCEPIECE`, as a folder's tokenizer_config.json or config.json says.

    Args:
        folder: on a disk or in a bucket (gs://).

    Raises:
        UserError: the tokenizer is another one, which is named.
    """
    for name in (SETTINGS, CONFIG):
        file = epath.Path(folder or ".") / name
        found = files.read_json(file).get(_TOKENIZER) if file.is_file() else None
        if found is None:
            continue
        kind = str(found).removesuffix("Fast")
        if kind != _OF_BYTES and kind not in _OF_SENTENCEPIECE:
            whose = f", {_OF_OTHERS[kind]}" if kind in _OF_OTHERS else ""
            raise UserError(
                f"{file} names the tokenizer {found}{whose}, which is not read: a backbone's "
                "vocabulary is of SentencePiece (spiece.model) or, as ByT5's, of bytes."
            )
        return BYTES if kind == _OF_BYTES else SENTENCEPIECE
    return SENTENCEPIECE
