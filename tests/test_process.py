"""How a command's process keeps memory: page faults of a subprocess."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import concurrent.futures, resource
from mpt_jax import process

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def of_large_blocks():
    bytearray(64 << 20)
    before = faults()
    for _ in range(4):
        bytearray(64 << 20)
    return faults() - before

process.tune()
with concurrent.futures.ThreadPoolExecutor() as threads:
    print(threads.submit(of_large_blocks).result())
"""


def faults(**environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    clean.pop("GLIBC_TUNABLES", None)
    command = [sys.executable, "-c", PROGRAM]
    return int(subprocess.check_output(command, env={**clean, **environment}))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_freed_memory_is_used_again_unless_the_user_has_settings_of_their_own():
    assert faults() < 20 < faults(MALLOC_ARENA_MAX="2")
