"""Remembering what a pure function returned, within a bound that no client can pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

#: Bytes and characters of all arguments together: a client could fill the memory with
#: longer ones.
MAX_ARGUMENT_LENGTH = 512


def memoize(max_size: int) -> Callable[[Function], Function]:
    """Return a decorator for a function of bytes and texts that many calls share.

    What it raises is not remembered, nor what it returns for long arguments.

    Args:
        max_size: For how many calls it is remembered; then it begins anew.
    """

    def decorate(function: Function) -> Function:
        results: dict[tuple[Any, ...], Any] = {}

        @wraps(function)
        def look_up(*arguments: Any) -> Any:
            try:
                return results[arguments]
            except KeyError:
                result = function(*arguments)
            lengths = (len(each) for each in arguments if isinstance(each, bytes | str))
            if sum(lengths) <= MAX_ARGUMENT_LENGTH:
                if len(results) >= max_size:
                    results.clear()
                results[arguments] = result
            return result

        return cast(Function, look_up)

    return decorate
