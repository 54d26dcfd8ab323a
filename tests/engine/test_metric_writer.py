"""What is written can be read back: JSON lines by `json`, events by TensorFlow's own reader."""

import json
import math
import pathlib
import re

import pytest
import tensorflow as tf

from mpt_jax.engine.records import history
from mpt_jax.engine.reporting.metric_writer import MetricWriter
from mpt_jax.errors import UserError


def lines(folder: pathlib.Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in line if name != "checksum"} for line in found]


def events(folder: pathlib.Path) -> list:
    files = sorted(str(path) for path in (folder / "tensorboard").iterdir())
    records = (record.numpy() for file in files for record in tf.data.TFRecordDataset(file))
    return [tf.compat.v1.Event.FromString(record) for record in records]


def test_lines_and_events_read_back(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.write(10, "train", {"loss": 1.25, "grad_norm": 0.5})
        writer.write(10, "eval", {"rte/accuracy": 61})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert re.sub(r', "checksum": "[0-9a-f]{8}"', "", text) == (
        '{"step": 10, "kind": "train", "grad_norm": 0.5, "loss": 1.25}\n'
        '{"step": 10, "kind": "eval", "rte/accuracy": 61.0}\n'
    )
    assert history.read(tmp_path)[1] == {"step": 10, "kind": "eval", "rte/accuracy": 61.0}
    (tmp_path / "metrics.jsonl").write_text(text.replace("61.0", "71.0"))
    with pytest.raises(UserError, match="line 2, is not as it was written"):
        history.read(tmp_path)
    version, start, *rest = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == tf.compat.v1.SessionLog.START
    values = [(e.step, v.tag, v.simple_value) for e in rest for v in e.summary.value]
    assert values == [
        (10, "train/grad_norm", 0.5),
        (10, "train/loss", 1.25),
        (10, "eval/rte/accuracy", 61.0),
    ]


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.write(1, "train", {"loss": 2})
        assert lines(tmp_path) == [{"step": 1, "kind": "train", "loss": 2.0}]
        assert len(events(tmp_path)) == 3


def test_what_is_not_finite_is_null(tmp_path):
    with MetricWriter(tmp_path) as writer:
        writer.write(1, "train", {"loss": math.nan, "norm": math.inf})
    assert lines(tmp_path) == [{"step": 1, "kind": "train", "loss": None, "norm": None}]


def test_resuming_drops_later_steps_and_a_torn_line(tmp_path):
    with MetricWriter(tmp_path) as writer:
        for step in (1, 2, 3):
            writer.write(step, "train", {"loss": step})
    uninterrupted = (tmp_path / "metrics.jsonl").read_text()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "ki')
    with MetricWriter(tmp_path, resume_step=2) as writer:
        assert [line["step"] for line in lines(tmp_path)] == [1, 2]
        writer.write(3, "train", {"loss": 3})
    assert (tmp_path / "metrics.jsonl").read_text() == uninterrupted
    starts = [e.step for e in events(tmp_path) if e.HasField("session_log")]
    assert starts == [1, 3]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file/metrics.jsonl"):
        MetricWriter(tmp_path / "file")
