"""C++ notes, written to the file descriptor itself, are dropped; everything else is kept."""

import os

import pytest

from mpt_jax.engine.native_logs import notes_dropped

NOTES = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795229296.423035   19530 port.cc:153] oneDNN custom operations are on.\n"
    b"To enable the following instructions: AVX2, rebuild TensorFlow.\n"
)


def test_notes_are_dropped_and_other_lines_kept(capfd):
    with notes_dropped():
        os.write(2, NOTES + b"a warning of the user's module\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "a warning of the user's module\nafter\n"


def test_everything_is_shown_when_loading_fails(capfd):
    with pytest.raises(ImportError), notes_dropped():
        os.write(2, NOTES)
        raise ImportError
    assert capfd.readouterr().err == NOTES.decode()
