"""How `versus_peft.py` talks to the two processes it compares: a line of JSON each way."""

import json
import resource
import sys
import time
from typing import Any


def answer(worker: Any) -> None:
    """Carries out jobs on standard input, one at a time, until it ends.

    A job is {"do": name of a method of `worker`, "with": its arguments}; the answer has the seconds
    that the call took, and the most memory that the process had until then in bytes.
    """
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        getattr(worker, job["do"])(**job["with"])
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "memory": memory}), flush=True)
