"""What is drawn of what, read off the figures' own data, and what is left out with a sentence."""

import decimal

import matplotlib
import pytest

from mpt_jax.report import curves, heat_maps, reported, scores, style
from mpt_jax.report.settings import ordered_labels, settings
from mpt_jax.tasks import names


@pytest.fixture(name="draw")
def _draw(read):
    """Calls a drawing function with the settings of the runs, and the looks."""

    def draw(function, *arguments):
        runs, _ = read()
        with matplotlib.rc_context(style.RC):
            return function(settings(runs), style.looks(ordered_labels(runs)), *arguments)

    return draw


def _lines(panel):
    return {line.get_label(): line for line in panel.get_lines() if line.get_label()[0] != "_"}


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_looks_differ_in_colour_marker_and_line():
    looks = style.looks([f"method {i}" for i in range(7)]).values()
    assert len({look.colour for look in looks}) == 7
    many = style.looks([f"method {i}" for i in range(77)]).values()
    assert len({(look.colour, look.marker) for look in many}) == 77


def test_score_against_parameters(make_run, draw):
    for i, (label, tuned) in enumerate([("big", 200_000), ("small", 300), ("part", 500)]):
        make_run(f"{i}x", label=label, tasks=("x",), tuned=tuned, test={"x": 50 + i})
        if label != "part":
            make_run(f"{i}y", label=label, tasks=("y",), tuned=tuned, test={"y": 60 + i})
    picture = draw(scores.against_parameters, False)
    (panel,) = picture.figure.axes
    assert panel.get_xscale() == "log"
    assert "tuned parameters per task" in panel.get_xlabel()
    points = {c.get_label(): c.lines[0].get_xydata().tolist() for c in panel.containers}
    assert {k: v[0] for k, v in points.items()} == {
        "big": [pytest.approx(200_000), 55],
        "small": [pytest.approx(300), 56],
    }
    assert "without part" in picture.caption


def test_a_label_that_begins_with_an_underscore_is_in_the_legend(make_run, draw):
    make_run("a", label="_one", shots=4, test={"mini_rte": 50})
    make_run("b", label="_one", shots=16, test={"mini_rte": 60})
    pictures = [draw(scores.against_parameters, False), *draw(scores.few_shot)]
    pictures += [p for p in draw(curves.learning) if p.figure]
    assert len(pictures) == 3
    for picture in pictures:
        assert [text.strip() for text in _legend(picture.figure)] == ["_one"]


def test_points_of_equal_size_stand_apart_and_in_the_middle(make_run, draw):
    for i, label in enumerate("abc"):
        make_run(label, label=label, tuned=1000, test={"mini_rte": 50 + i})
    (panel,) = draw(scores.against_parameters, False).figure.axes
    x = [c.lines[0].get_xdata()[0] for c in panel.containers]
    assert x[1] == pytest.approx(1000)
    assert 850 < x[0] < 950 < 1050 < x[2] < 1150


def test_the_papers_figures_are_letters_that_say_as_reported(make_run, draw):
    make_run("a", tasks=("mnli",), shots=None)
    picture = draw(scores.against_parameters, True)
    (panel,) = picture.figure.axes
    labels = [c.get_label() for c in panel.collections]
    assert "as reported, GLUE: MPT" in labels
    assert "as reported, GLUE: BitFit" in labels
    letters = [c for c in panel.collections if c.get_label().startswith("as reported")]
    boxes = [letter.get_paths()[0].get_extents() for letter in letters]
    assert all(box.height > 0.5 * box.width for box in boxes)  # letters, not a line of text
    assert "as published" in picture.caption
    assert reported.group_of(["boolq", "cb"]) == "SuperGLUE"
    assert reported.group_of(["yelp"]) == "others"
    assert reported.group_of(["mini_rte"]) == "GLUE"
    few = draw(scores.against_parameters, False)
    assert not any("as reported" in label for label in _legend(few.figure))


def test_published_means_are_those_of_their_cells():
    (mpt,) = (point for point in reported.TABLE if point.method == "MPT")
    for group, scores_of in reported.MPT_BY_TASK.items():
        mean = sum(map(decimal.Decimal, map(str, scores_of.values()))) / len(scores_of)
        rounded = mean.quantize(decimal.Decimal("0.1"), decimal.ROUND_HALF_UP)
        assert float(rounded) == mpt.means[group], group
    registered = {*names.PAPER}
    assert {task for scores_of in reported.MPT_BY_TASK.values() for task in scores_of} <= registered


def test_the_papers_figures_are_not_shown_next_to_few_examples(make_run, draw):
    make_run("a", shots=16)
    picture = draw(scores.against_parameters, True)
    assert not any("as reported" in label for label in _legend(picture.figure))
    assert "and there are no such runs" in picture.caption


def test_few_shot_curves(make_run, draw):
    for shots, score in ((4, 40), (16, 50), (None, 70)):
        for seed in (0, 1):
            make_run(f"{shots}{seed}", shots=shots, seed=seed, test={"mini_rte": score + 2 * seed})
    (picture,) = draw(scores.few_shot)  # of one task: no picture by task
    (panel,) = picture.figure.axes
    line = _lines(panel)["MPT"]
    assert line.get_xdata().tolist() == [2, 4, 5.5]  # log2, and "all" after it
    assert line.get_ydata().tolist() == [41, 51, 71]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["4", "16", "all"]
    band = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(41 - 2**0.5)  # of 40 and 42
    assert band.max() == pytest.approx(71 + 2**0.5)


def test_panels_to_compare_have_equal_axes_and_use_the_page(make_run, draw):
    for shots, score in ((4, 40), (16, 50), (None, 70)):
        for task, metric, less in (("x", "accuracy", 0), ("y", "accuracy", 20), ("z", "bleu", 35)):
            steps = 100 if shots else 200
            kept = {"shots": shots, "tasks": (task,), "metric": metric, "total_steps": steps}
            make_run(f"{shots}{task}", test={task: score - less}, **kept)
            make_run(f"v{shots}{task}", label="MPT less", test={task: score - less - 5}, **kept)
    parameters = draw(scores.against_parameters, False)
    (ablation,) = draw(lambda s, _: scores.ablations(s))
    learning, _ = draw(curves.learning)
    for picture in (parameters, ablation):
        assert len(picture.figure.axes) == 3
        assert len({panel.get_xlim() for panel in picture.figure.axes}) == 1
    assert len({panel.get_ylim() for panel in parameters.figure.axes}) == 1
    assert len({panel.get_xlim() for panel in learning.figure.axes}) == 1
    _, by_task = draw(scores.few_shot)
    x, y, z = (panel.get_ylim() for panel in by_task.figure.axes[:3])
    assert x == y != z
    assert x[0] < 15 and x[1] > 70  # all lines of both panels
    for picture in (parameters, ablation, learning, by_task):
        assert picture.figure.get_figwidth() == style.WIDTH


def test_few_shot_curves_compare_the_same_tasks(make_run, draw):
    make_run("4x", shots=4, tasks=("x",), test={"x": 40})
    make_run("16x", shots=16, tasks=("x",), test={"x": 50})
    make_run("16y", shots=16, tasks=("y",), test={"y": 90})
    (picture,) = draw(scores.few_shot)
    assert _lines(picture.figure.axes[0])["MPT"].get_ydata().tolist() == [40, 50]


def test_what_the_runs_do_not_support_is_left_out_with_a_sentence(make_run, draw):
    make_run("a", shots=4)
    for function in (scores.few_shot, lambda s, _: scores.ablations(s)):
        (picture,) = draw(function)
        assert picture.figure is None
        assert picture.reason
    assert [bool(p.figure) for p in draw(curves.learning)] == [True, False]
    maps = draw(lambda s, _: heat_maps.heat_maps(s))
    assert len(maps) == 4
    assert all(p.figure is None and p.reason for p in maps)


def test_learning_curves_at_the_steps_that_all_runs_have(make_run, draw):
    make_run("x0", tasks=("x",), evals=((25, 30), (50, 40), (100, 50)))
    make_run("y0", tasks=("y",), evals=((50, 60), (100, 70)))
    make_run("x1", tasks=("x",), seed=1, evals=((50, 44), (100, 50)))
    make_run("y1", tasks=("y",), seed=1, evals=((50, 60), (100, 74)))
    make_run("x2", tasks=("x",), seed=2, evals=((50, 0), (100, 0)))  # no y: not counted
    target, _ = draw(curves.learning)
    above, below = target.figure.axes
    line = _lines(above)["MPT"]
    assert line.get_xdata().tolist() == [50, 100]
    assert line.get_ydata().tolist() == [51, 61]  # of 50 and 52; 60 and 62
    assert _lines(below)["MPT"].get_ydata().tolist() == pytest.approx([0.02, 0.01])
    assert "nats" in below.get_ylabel()
    assert below.get_xlabel() == "training step"


def test_families():
    labels = ["MPT without a", "MPT", "MPT, joint", "MPTX", "SPoT", "MPT without a and b"]
    assert scores.families(labels) == {
        "MPT": ["MPT without a", "MPT, joint", "MPT without a and b"]
    }


def test_ablation_bars(make_run, draw):
    make_run("a", label="MPT", test={"mini_rte": 60})
    make_run("b", label="MPT without it", test={"mini_rte": 50})
    make_run("c", label="other", test={"mini_rte": 40})
    (picture,) = draw(lambda s, _: scores.ablations(s))
    (panel,) = picture.figure.axes
    assert picture.name == "ablation_mpt"
    assert [bar.get_width() for bar in panel.patches] == [60, 50]
    labels = [tick.get_text() for tick in panel.get_yticklabels()]
    assert labels == ["MPT", "MPT without it"]


def test_counts_are_short():
    counts = (950, 2708, 77_668, 1_900_000, 2.2e8, 1.1e10)
    short = [style.short_count(count) for count in counts]
    assert short == ["950", "2.708K", "77.67K", "1.9M", "220M", "11B"]
