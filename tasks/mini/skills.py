"""Text-to-text skills with an instruction in words: what the mini backbone is pretrained on.

As real T5 was pretrained on a supervised mixture and on span corruption, this backbone learns to
follow instructions about the mini world: the source tasks' skills and the parts that the targets
are made of, never a target itself. Instructions vary in wording and field names; a soft prompt can
then say what an instruction says.
"""

import random
from collections.abc import Callable

from mpt_jax.tasks.mini import fact_skills, text_skills, word_skills
from mpt_jax.tasks.mini.rows import Row
from mpt_jax.tasks.mini.world import pick

# Each skill's share of the instruction rows, in parts of the sum.
SKILLS: dict[Callable[[random.Random], Row], int] = {
    fact_skills.parts: 3,
    fact_skills.compare: 12,
    text_skills.relation: 17,
    text_skills.follows: 7,
    text_skills.compatible: 4,
    text_skills.claim: 9,
    text_skills.same_fact: 11,
    text_skills.same_kind: 5,
    text_skills.count_same: 6,
    text_skills.ask: 8,
    text_skills.answerable: 7,
    text_skills.fill: 7,
    text_skills.who_was: 6,
    text_skills.state: 1,
    word_skills.synonym: 1,
    word_skills.opposite: 1,
    word_skills.kind_of: 1,
    word_skills.meaning_here: 2,
    word_skills.order: 1,
    word_skills.order_right: 7,
    word_skills.repair: 2,
    word_skills.copy: 1,
    word_skills.from_keywords: 2,
    word_skills.negate: 1,
    word_skills.feeling: 3,
}


def skill_row(rng: random.Random) -> Row:
    """One instruction row, the skill drawn by its share."""
    return pick(rng, _DRAW)(rng)


_DRAW = [skill for skill, share in SKILLS.items() for _ in range(share)]
