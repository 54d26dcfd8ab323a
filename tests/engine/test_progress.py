"""Progress in a log: few lines, the first and the last among them; on a terminal: one live line."""

import io
import re

import pytest
from rich import cells

from mpt_jax.engine.reporting.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_has_the_first_and_last_line_and_one_per_five_seconds():
    stream, clock = io.StringIO(), Clock()
    with Progress(20, "teachers", stream=stream, clock=clock) as progress:
        for step in range(1, 20):
            clock.now = float(step)  # one step a second
            progress.update(step, {"loss": 1 / step})
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/20", "6/20", "11/20", "16/20", "19/20"]
    assert lines[0] == "teachers  1/20  loss 1  1 steps/s  ETA 19s"
    assert lines[-1] == "teachers  19/20  loss 0.05263  1 steps/s  ETA 1s"


def test_speed_and_time_left_are_those_of_the_last_updates():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(100_000, "target", start_step=1000, stream=stream, clock=clock)
    assert progress.steps_per_second == 0
    clock.now = 60.0  # compilation
    progress.update(1010, {})
    for step in range(1020, 1080, 10):
        clock.now += 1.0
        progress.update(step, {})
    assert progress.steps_per_second == 10
    assert "ETA 2h 44m" in stream.getvalue().splitlines()[-1]


def test_metrics_stay_until_they_change_and_a_repeated_step_does_not_count():
    stream, clock = io.StringIO(), Clock()
    with Progress(10, "target", stream=stream, clock=clock) as progress:
        clock.now = 2.0
        progress.update(4, {"loss": 0.5})
        clock.now = 8.0  # evaluation
        progress.update(4, {"rte/accuracy": 61.25})
        assert progress.steps_per_second == 2
    expected = "target  4/10  loss 0.5  2 steps/s  ETA 3s  rte/accuracy 61.25"
    assert stream.getvalue().splitlines()[-1] == expected


def test_log_lines_are_printed_at_once():
    stream = io.StringIO()
    with Progress(10, "target", stream=stream) as progress:
        progress.log("saved [step 4]")
        assert stream.getvalue() == "saved [step 4]\n"


def test_a_terminal_gets_a_live_line():
    stream = Terminal()
    with Progress(10, "teachers", stream=stream) as progress:
        progress.update(4, {"loss": 0.25})
        progress.log("saved [step 4]")
        progress.update(10, {"loss": 0.125})
    shown = stream.getvalue()
    assert "teachers" in shown
    assert "10/10  loss 0.125" in shown
    assert "saved [step 4]\n" in shown


# What a step of `make demo`'s source run reports (its metrics.jsonl).
_TASKS = ("cloze", "nli", "paraphrase", "qa", "qnli", "sentiment")
DEMO = {
    "grad_norm": 1.1470624,
    "learning_rate/shared": 0.0825,
    "learning_rate/task": 0.0825,
    "loss": 1.575645,
    "loss_hidden": 0.306661,
    "loss_logits": 0.440318,
    **{f"task_loss/mini_{task}": 0.7863144 for task in _TASKS},
    **{f"task_token_accuracy/mini_{task}": 0.710227 for task in _TASKS},
}
LAST_FRAME = ["150/200", "loss 1.576", "score 47.45", "2 steps/s", "ETA 25s"]


def live_lines(description, width, monkeypatch):
    """The last frame of the live line of the demo's source run, on a terminal of that width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with Progress(200, description, stream=stream, clock=clock) as progress:
        for step in (50, 100, 150):
            clock.now = step / 2
            progress.update(step, DEMO)
            progress.update(step, {"score": 47.449999})
        stream.truncate(stream.seek(0))
        progress.update(150, {})
        frame = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    return [line.strip() for line in frame.strip().split("\n")]


@pytest.mark.parametrize(
    "description", ["mpt source", "prompt_tuning teachers", "mpt 本番の最初の実験"]
)
@pytest.mark.parametrize("width", [200, 80, 72])
def test_the_live_line_has_a_bar_and_all_facts_in_one_line(description, width, monkeypatch):
    (line,) = live_lines(description, width, monkeypatch)
    assert cells.cell_len(line) <= width
    assert "━━━━" in line
    assert line.endswith("  ".join(LAST_FRAME))
    assert line.startswith(description[:3])
    assert (description in line) == (width == 200 or description == "mpt source")


@pytest.mark.parametrize("width", [56, 40, 20])
def test_a_narrow_terminal_has_the_facts_below_the_bar(width, monkeypatch):
    first, *below = live_lines("prompt_tuning teachers", width, monkeypatch)
    assert all(cells.cell_len(line) <= width for line in (first, *below))
    assert "━━━━" in first
    found = [fact for line in below for fact in re.split(r"  +", line.strip())]
    assert found == LAST_FRAME


def test_a_live_line_is_there_before_the_first_step():
    stream = Terminal()
    with Progress(200, "mpt source", stream=stream):
        assert "0/200" in stream.getvalue()


def test_on_a_terminal_what_is_said_for_good_is_without_details():
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        with Progress(200, "mpt source", stream=stream) as progress:
            progress.log("step 50  validation: score 47.45", "mini_nli/accuracy 17.50")
    assert "score 47.45\n" in terminal.getvalue()
    assert "mini_nli" not in terminal.getvalue()
    assert log.getvalue() == "step 50  validation: score 47.45  mini_nli/accuracy 17.50\n"
