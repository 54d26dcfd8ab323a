"""Progress in a log: few lines, the first and the last among them; on a terminal: one live line."""

import io

from mpt_jax.engine.progress import Progress


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
    assert (
        stream.getvalue().splitlines()[-1].startswith("target  4/10  loss 0.5  rte/accuracy 61.25")
    )


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
