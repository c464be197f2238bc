"""Cache the results of a pure function, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

#: The most bytes and characters in all arguments of a cached call. Longer ones are not
#: cached, because a client could fill the memory with them.
MAX_ARGUMENT_LENGTH = 512


def memoize(max_size: int) -> Callable[[Function], Function]:
    """Return a decorator that caches the results of a function of bytes and strings.

    Exceptions are not cached, nor are results for long arguments.

    Args:
        max_size: The most results kept. When it is reached, the cache is emptied.
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
