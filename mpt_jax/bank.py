"""The leaves of a prompt bank and their axes; what they mean is said in `prompts`.

Apart, so that a prompt file is read without jax.
"""

from collections.abc import Mapping
from typing import Any

Bank = Mapping[str, Any]

# Logical axes of the leaves; the partitioner replicates all of them but `embed`'s rule decides D.
AXES = {
    "shared": ("prompt_length", "embed"),
    "task_u": ("tasks", "prompt_length", "rank"),
    "task_v": ("tasks", "rank", "embed"),
    "task_prompts": ("tasks", "prompt_length", "embed"),
}
