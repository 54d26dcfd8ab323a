"""Text-to-text skills with an instruction in words: what the mini backbone is pretrained on.

As real T5 was pretrained on a supervised mixture beside span corruption, this backbone learns to
follow instructions about the mini world: the source tasks' skills and the parts that the targets
are made of, never a target itself. Instructions vary in wording, field names and answer words, so
that the answer words are read from the instruction; a soft prompt can then say what an
instruction says.
"""

import random
from collections.abc import Callable

from mpt_jax.tasks import mini_text_skills as text_skills
from mpt_jax.tasks import mini_word_skills as word_skills
from mpt_jax.tasks.mini_rows import Row
from mpt_jax.tasks.mini_world import pick

# Each skill's share of the instruction rows, in parts of the sum.
SKILLS: dict[Callable[[random.Random], Row], int] = {
    text_skills.relation: 8,
    text_skills.follows: 6,
    text_skills.compatible: 4,
    text_skills.claim: 9,
    text_skills.same_fact: 7,
    text_skills.same_slot: 7,
    text_skills.same_kind: 5,
    text_skills.count_same: 7,
    text_skills.what_differs: 4,
    text_skills.ask: 9,
    text_skills.answerable: 6,
    text_skills.find_sentence: 3,
    text_skills.fill: 5,
    text_skills.who_was: 4,
    text_skills.replace_pronoun: 3,
    text_skills.state: 3,
    word_skills.synonym: 2,
    word_skills.opposite: 2,
    word_skills.kind_of: 2,
    word_skills.alike: 4,
    word_skills.meaning_here: 3,
    word_skills.order: 3,
    word_skills.order_right: 5,
    word_skills.repair: 4,
    word_skills.copy: 2,
    word_skills.from_keywords: 4,
    word_skills.negate: 3,
    word_skills.feeling: 4,
    word_skills.opinion_word: 1,
}


def skill_row(rng: random.Random) -> Row:
    """One instruction row, the skill drawn by its share."""
    return pick(rng, _DRAW)(rng)


_DRAW = [skill for skill, share in SKILLS.items() for _ in range(share)]
