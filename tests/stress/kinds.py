"""The kinds of data that a run can read, each as the smallest run of `t5x train` that reads it."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping

import jax
import numpy as np
import seqio
import tensorflow as tf

from mpt_jax.backbone import config, network, store
from mpt_jax.tasks.mini import vocabulary

TINY = str(pathlib.Path(__file__).with_name("tiny.gin"))
TARGET, SOURCE = "gin/mpt_target.gin", "gin/mpt_source.gin"
SEQIO_TASKS = "[@local.register(), 'stress.seqio_tasks']"  # next to the tasks of tiny.gin
MINI_TASKS = "[@local.register(), 'mpt_jax.tasks.mini']"
STREAMED_ROWS = 10_100  # more than are kept in memory
_WORDS = ("the", "judge", "saw", "a", "red", "house", "and", "cold", "water", "near", "town")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        name: in the table.
        settings: NAME=VALUE of gin, after those of tiny.gin.
        file: the run's gin file.
        hosts: processes that share the data.
    """

    name: str
    settings: Mapping[str, str]
    file: str = TARGET
    hosts: int = 1

    def arguments(self, data: pathlib.Path, model_dir: pathlib.Path) -> list[str]:
        """Of `t5x`, for a run in `model_dir` on what `write_data` has written."""
        settings = {
            "STRESS_DATA": str(data),
            "INITIAL_CHECKPOINT_PATH": str(data / "backbone"),
            "MODEL_DIR": str(model_dir),
            **({"SOURCE_PROMPTS": "None"} if self.file == TARGET else {"TEACHER_STEPS": "8"}),
            **self.settings,
        }
        return [
            "train",
            f"--seqio_additional_cache_dirs={data / 'cache'}",
            f"--gin_file={self.file}",
            f"--gin_file={TINY}",
            *(f"--gin.{name}={value}" for name, value in settings.items()),
        ]


def _local(name: str, tasks: str, **settings: str) -> Kind:
    return Kind(name, {"MIXTURE_OR_TASK_NAME": tasks, **settings})


def _seqio(name: str, task: str, **settings: str) -> Kind:
    return _local(name, task, MIXTURE_OR_TASK_MODULE=SEQIO_TASKS, **settings)


_SAMPLED = {
    "MIXTURE_OR_TASK_NAME": "['small', 'held_out', 'large']",
    "MIN_TASKS_PER_BATCH": "2",
    "FEW_SHOT": "9",
}
KINDS = (
    _local("few-shot", "small", FEW_SHOT="10"),
    _local("own file, whole", "small"),
    _local("own file, validation held out", "held_out"),
    _local("own file, streamed", "large", BATCH_SIZE="1700"),
    _local("several tasks jointly", "['small', 'held_out']"),
    Kind("tasks sampled, teachers, distillation", _SAMPLED, SOURCE),
    Kind(
        "shipped task, whole",
        {
            "MIXTURE_OR_TASK_NAME": "mini_wic",
            "MIXTURE_OR_TASK_MODULE": MINI_TASKS,
            "BATCH_SIZE": "64",
        },
    ),
    _seqio("SeqIO: lines of text", "text_lines"),
    _seqio("SeqIO: cached", "cached", USE_CACHED_TASKS="True"),
    _seqio("SeqIO: without a place for a cache", "not_cached"),
    _seqio("SeqIO: a function", "function"),
    _seqio("SeqIO: TFRecords in shards", "tfrecords"),
    _seqio("SeqIO: a filter", "filtered"),
    _seqio("SeqIO: several examples a row", "one_to_many"),
    _seqio("SeqIO: a mixture's own rates", "own_rates"),
    Kind("two hosts", {"MIXTURE_OR_TASK_NAME": "['small', 'held_out']"}, hosts=2),
)


def write_data(folder: pathlib.Path, seed: int = 0) -> None:
    """Write the rows of all kinds and the backbone."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    counts = {"small": 19, "validation": 8, "large": STREAMED_ROWS}
    for name, count in counts.items():
        lines = (json.dumps(row) for row in _rows(random, count))
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    table = "".join(f"{row['text']},{row['label']}\n" for row in _rows(random, 30))
    (folder / "held_out.csv").write_text(f"text,label\n{table}")
    for split, count in {"train": 21, "validation": 8}.items():
        rows = list(_rows(random, count))
        lines = "".join(f"{row['text']}\t{row['label']}\n" for row in rows)
        (folder / f"{split}.tsv").write_text(lines)
        columns = [{"inputs": f"text: {row['text']}", "targets": row["label"]} for row in rows]
        shards = 3 if split == "train" else 1
        _write_records(folder, split, columns, shards)
        _write_cache(folder / "cache" / "cached", split, columns, shards)
    sizes = dict(emb_dim=8, num_heads=1, head_dim=8, mlp_dim=8)
    tiny = config.T5Config(
        vocab_size=1024,
        num_encoder_layers=1,
        num_decoder_layers=1,
        mlp_activations=("gelu", "linear"),
        logits_via_embedding=False,
        **sizes,
    )
    tokens = np.ones((1, 1), np.int32)
    params = network.Transformer(tiny).init(jax.random.key(seed), tokens, tokens)["params"]
    store.save(str(folder / "backbone"), params, tiny)


def _rows(random: np.random.Generator, count: int) -> Iterator[dict[str, str]]:
    """Texts of different lengths, all different, with labels that can be learnt."""
    for number in range(count):
        words = random.choice(_WORDS, size=random.integers(2, 9))
        text = " ".join([*words, *str(number)])
        yield {"text": text, "label": "true" if len(words) % 2 else "false"}


def _write_cache(folder: pathlib.Path, split: str, rows: list[dict], shards: int) -> None:
    """As `seqio_cache_tasks` leaves a task: its rows before the placeholder, tokenised."""
    pieces = vocabulary.vocabulary()
    _write_records(
        folder,
        split,
        [{name: pieces.encode(text) for name, text in row.items()} for row in rows],
        shards,
    )
    features = {name: {"dtype": "int32", "shape": [None]} for name in rows[0]}
    info = {"num_shards": shards, "features": features, "seqio_version": seqio.__version__}
    (folder / f"info.{split}.json").write_text(json.dumps(info))
    (folder / f"stats.{split}.json").write_text(json.dumps({"examples": len(rows)}))
    (folder / "COMPLETED").touch()


def _write_records(folder: pathlib.Path, split: str, rows: list[dict], shards: int) -> None:
    """TFRecords of rows of texts, or of token ids."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        path = folder / f"{split}.tfrecord-{shard:05d}-of-{shards:05d}"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows[shard::shards]:
                features = {name: _feature(value) for name, value in row.items()}
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


def _feature(value: str | list[int]) -> tf.train.Feature:
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
