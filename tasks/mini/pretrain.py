"""Pretraining rows of the mini backbone: span corruption, instructions (`skills`), seen targets."""

import random

from mpt_jax.tasks.mini import lexicon, rows, world
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.skills import skill_row
from mpt_jax.tasks.mini.suite import TARGETS, split_rows

NOISE_DENSITY = 0.2  # share of the words that are hidden (T5 hides 0.15 of longer texts)
MEAN_SPAN = 2.0


def running_text(rng: random.Random) -> str:
    """Two to four sentences of the world."""
    count = 2 + int(rng.random() * 3)
    return " ".join(_any_sentence(rng) for _ in range(count))


def _any_sentence(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.45:
        fact = world.draw_fact(rng, lexicon.HOME, 0.35)
    elif draw < 0.65:
        fact = world.draw_fact(rng, lexicon.NEWS, 0.35)
    elif draw < 0.75:
        name = world.pick(rng, tuple(lexicon.AMBIGUOUS))
        fact = rows.ambiguous_fact(rng, name, world.pick(rng, lexicon.AMBIGUOUS[name]))
    elif draw < 0.85:
        return rows.cause(rng)[0]
    else:
        return rows.opinion(rng, world.chance(rng, 0.5))
    return world.sentence(rng, fact._replace(negated=world.chance(rng, 0.1)))


def corrupted(rng: random.Random, text: str) -> Row:
    """T5's span corruption on words: spans become `<extra_id_i>`, the target lists them."""
    words = text.split()
    hidden = max(1, round(len(words) * NOISE_DENSITY))
    spans = max(1, round(hidden / MEAN_SPAN))
    lengths = _split(rng, hidden, spans)
    gaps = _split(rng, len(words) - hidden, spans + 1)
    inputs, targets, at = [], [], 0
    for i, (gap, length) in enumerate(zip(gaps, lengths, strict=False)):
        inputs += [*words[at : at + gap], f"<extra_id_{i}>"]
        targets += [f"<extra_id_{i}>", *words[at + gap : at + gap + length]]
        at += gap + length
    return Row(" ".join(inputs + words[at:]), " ".join([*targets, f"<extra_id_{spans}>"]))


def _split(rng: random.Random, total: int, parts: int) -> list[int]:
    """`total` as `parts` positive whole numbers, uniformly (needs parts <= total)."""
    cuts = sorted(world.shuffled(rng, range(1, total))[: parts - 1])
    return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]


def corruption_rows(count: int, seed: str) -> list[Row]:
    """`count` rows of span corruption; a longer list extends a shorter one."""
    rng = random.Random(seed)
    return [corrupted(rng, running_text(rng)) for _ in range(count)]


def instruction_rows(count: int, seed: str) -> list[Row]:
    """`count` rows of instructed skills; a longer list extends a shorter one."""
    rng = random.Random(seed)
    return [skill_row(rng) for _ in range(count)]


def seen_rows(count: int, seed: str) -> list[Row]:
    """`count` draws of the targets' training rows, with the task's name in front, as T5 has it."""
    rng = random.Random(seed)
    pool = [
        Row(f"{name.removeprefix('mini_')} {row.inputs}", row.targets)
        for name in TARGETS
        for row in split_rows(name, "train")
    ]
    return [world.pick(rng, pool) for _ in range(count)]
