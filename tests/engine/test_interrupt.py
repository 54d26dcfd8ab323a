"""Signals as a flag: the first is kept, the second stops, and handlers come back.

What ends a process is tried on processes, whose main thread is where signals get lost: in native
code, or in a callback that drops every exception.
"""

import signal
import subprocess
import sys
import threading

import pytest

from mpt_jax.engine import interrupt
from mpt_jax.engine.interrupt import InterruptFlag

BEGIN = """
import ctypes, os, signal, sys, threading, time
from mpt_jax.engine import interrupt

def say(text):
    os.write(1, f"{text}\\n".encode())

def lost():  # in a callback, and in native code that no signal ends
    while True:
        try:
            say("ready")
            ctypes.CDLL(None).pause()
            threading.Event().wait(60)
        except BaseException:
            pass
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_the_flag_and_nothing_else(number):
    with InterruptFlag() as flag:
        assert not flag
        signal.raise_signal(number)
        assert flag
    assert flag  # the loop asks after its end, too


def test_a_second_signal_stops_at_once():
    with pytest.raises(KeyboardInterrupt), InterruptFlag():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("fails", [False, True])
def test_the_handlers_from_before_come_back(fails):
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    try:
        with InterruptFlag():
            inside = [signal.getsignal(number) for number in interrupt.SIGNALS]
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before
    assert all(now != then for now, then in zip(inside, before, strict=True))


def test_outside_of_the_main_thread_it_stays_false():
    seen = []

    def work():
        with InterruptFlag() as flag:
            seen.append((bool(flag), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]


def process(body: str) -> subprocess.Popen:
    """Python code in a process, once it has written "ready"."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", f"{BEGIN}\n{body}"]
    started = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    assert started.stdout.readline() == "ready\n"
    return started


def ended(started: subprocess.Popen) -> tuple[int, str, str]:
    out, err = started.communicate(timeout=60)
    return started.returncode, out.removeprefix("ready\n"), err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_wherever_it_is(number):
    started = process("with interrupt.ending_process('t5x: interrupted'): lost()")
    started.send_signal(number)
    assert ended(started) == (130, "", "t5x: interrupted\n")


def test_the_line_reaches_the_user_while_standard_error_is_led_elsewhere():
    started = process(
        "with interrupt.ending_process('line'):\n"
        "    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)\n"
        "    lost()"
    )
    started.send_signal(signal.SIGINT)
    assert ended(started) == (130, "", "line\n")


def test_where_there_is_state_to_save_the_second_signal_ends_the_command():
    body = """
with interrupt.ending_process("line"), interrupt.InterruptFlag() as flag:
    say("ready")
    while not flag:
        time.sleep(0.01)
    say("saving")
    lost()
"""
    started = process(body)
    started.send_signal(signal.SIGTERM)
    assert started.stdout.readline() == "saving\n"
    assert started.stdout.readline() == "ready\n"
    started.send_signal(signal.SIGTERM)
    assert ended(started) == (130, "", "line\n")


def test_to_be_asked_twice_to_stop_is_no_second_signal():
    with InterruptFlag() as flag:
        interrupt.ask_to_stop()
        interrupt.ask_to_stop()
        assert flag
    interrupt.ask_to_stop()  # nothing here ends by signals


def test_a_command_leaves_the_handlers_as_they_were():
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    with interrupt.ending_process("line"):
        pass
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
