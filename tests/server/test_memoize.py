from __future__ import annotations

import pytest

from pushserver_channels.memoize import MAX_ARGUMENT_LENGTH, memoize


def test_result_is_cached() -> None:
    """The result of a call is returned again for the same arguments."""
    calls = []

    @memoize(max_size=2)
    def double(text: str, times: int | None) -> str:
        calls.append(text)
        return text * (times or 2)

    assert [double("a", None), double("a", None), double("a", 3)] == ["aa", "aa", "aaa"]
    assert calls == ["a", "a"]
    double("b", None)  # The third result: the first ones are dropped.
    double("a", None)
    assert calls == ["a", "a", "b", "a"]


def test_long_arguments_are_not_cached() -> None:
    """The results for long arguments are not cached."""
    calls = []

    @memoize(max_size=100)
    def measure(*parts: bytes | str | None) -> int:
        calls.append(parts)
        return len(parts)

    for _ in range(2):
        measure(b"x" * MAX_ARGUMENT_LENGTH, None)
        measure(b"x" * (MAX_ARGUMENT_LENGTH - 1), "yy")
    assert len(calls) == 3


def test_errors_are_not_cached() -> None:
    """A function that raised an error is called again."""
    calls = []

    @memoize(max_size=100)
    def fail(text: str) -> None:
        calls.append(text)
        raise ValueError(text)

    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            fail("a")
    assert calls == ["a", "a"]
