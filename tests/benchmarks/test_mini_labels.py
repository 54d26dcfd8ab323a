import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from mini import labels


def test_labels_are_moved_as_little_as_they_must_be():
    assert labels.apart([10, 40, 90], 0, 200) == [10, 40, 90]
    assert labels.apart([50, 50], 0, 200) == [44.5, 55.5]
    assert labels.apart([2, 3, 4], 0, 200) == [0, 11, 22]  # kept in
    assert labels.apart([195, 199], 0, 200) == [189, 200]
    rng = np.random.default_rng(3)
    for _ in range(200):
        middles = sorted(rng.uniform(0, 400, size=16).tolist())
        found = labels.apart(middles, 0, 400)
        assert np.diff(found).min() > 10.99 and found[0] >= 0 and found[-1] <= 400


def test_labels_of_near_points_cover_neither_each_other_nor_the_points():
    figure = Figure(figsize=(6, 4))
    panel = figure.subplots()
    panel.set(xlim=(0, 10), ylim=(0, 10))
    near = {f"a long label {i}": (3 + 0.1 * i, 5 + 0.15 * i, 0.2, "black") for i in range(8)}
    labels.lay_out(figure)
    labels.at_points(panel, near)
    renderer = figure.canvas.get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in panel.texts]
    assert [text.get_text() for text in panel.texts] == sorted(near, key=lambda n: -near[n][1])
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    markers = [panel.transData.transform(place[:2]) for place in near.values()]
    assert not any(box.contains(*marker) for box in boxes for marker in markers)
    assert all(panel.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))
