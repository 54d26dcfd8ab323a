"""Signals as a flag: the first is kept, the second stops, and handlers come back."""

import signal
import threading

import pytest

from mpt_jax.engine.interrupt import InterruptFlag


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
    before = [signal.getsignal(number) for number in InterruptFlag.SIGNALS]
    try:
        with InterruptFlag():
            inside = [signal.getsignal(number) for number in InterruptFlag.SIGNALS]
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert [signal.getsignal(number) for number in InterruptFlag.SIGNALS] == before
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
