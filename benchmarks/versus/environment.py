"""The environment that has PEFT: a venv of its own, because ours needs no torch."""

import pathlib
import subprocess
import venv

PACKAGES = ("torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "numpy==2.4.6")


def python(folder: str) -> str:
    """Its Python; installs what is not there yet."""
    program = pathlib.Path(folder, "bin", "python")
    if not program.exists():
        venv.create(folder, with_pip=True)
    have = subprocess.run([program, "-c", "import peft, torch, transformers"], capture_output=True)
    if have.returncode:
        print(f"Installing {', '.join(PACKAGES)} into {folder}", flush=True)
        subprocess.run([program, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return str(program)
