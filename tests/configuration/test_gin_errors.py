"""Gin's additions to exceptions are taken off; other exceptions are left as they are."""

import gin
import pytest

from mpt_jax.configuration import gin_errors
from mpt_jax.configuration.gin_source import Source
from mpt_jax.errors import UserError


class NarrowerError(UserError):
    """Stands for a subclass that the engine may define."""


@gin.configurable
def inner_toy(kind):
    if kind == "handled":
        try:
            raise UserError("the first.")
        except UserError:
            raise NarrowerError("the second.") from None
    raise kind("a message.")


@gin.configurable
def outer_toy(kind):
    return inner_toy(kind)


def cleaned(function, *args):
    with pytest.raises(Exception) as wrapped:  # noqa: B017 - whatever gin wrapped
        function(*args)
    with pytest.raises(Exception) as clean:  # noqa: B017
        gin_errors.raise_clean(wrapped.value, Source())
    return wrapped.value, clean.value


@pytest.mark.parametrize("kind", [UserError, NarrowerError, ZeroDivisionError])
def test_an_exception_of_the_code_is_the_one_that_was_raised(kind):
    wrapped, clean = cleaned(outer_toy, kind)
    assert "In call to configurable 'outer_toy'" in str(wrapped)
    assert type(clean) is kind
    assert str(clean) == "a message."


def test_an_error_raised_while_handling_another_is_kept():
    _, clean = cleaned(outer_toy, "handled")
    assert type(clean) is NarrowerError
    assert str(clean) == "the second."


def test_a_call_that_does_not_fit_is_a_user_error():
    _, clean = cleaned(outer_toy)
    assert type(clean) is UserError
    assert "missing 1 required positional argument: 'kind'" in str(clean)
    assert "--gin.outer_toy.kind=VALUE" in str(clean)
