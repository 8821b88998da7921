"""Properties: a few examples among the fast tests, and the same property at length among the slow ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import settings

AT_LENGTH_TIMEOUT_SECONDS: Final = 900


def explored(given: Callable[..., Any], *, few: int, at_length: int) -> Callable[[Callable[..., None]], Any]:
    """Runs a property as two tests: `few` examples, and, marked slow, `at_length` of them.

        @explored(given(events=st.lists(done)), few=30, at_length=200)
        def test_whatever_the_order(program: Program, events: list[Done]) -> None: ...

    What `given` does not name are fixtures and parameters as ever; every `@example` below is tried by both.
    """
    assert few < at_length

    def decorate(test: Callable[..., None]) -> Any:
        explorations = {
            examples: settings(max_examples=examples, deadline=None)(given(test)) for examples in (few, at_length)
        }

        def explore(*, examples: int, **fixtures: Any) -> None:
            explorations[examples](**fixtures)

        signature = inspect.signature(explorations[few])
        asked_for = inspect.Parameter("examples", inspect.Parameter.KEYWORD_ONLY, annotation=int)
        explore.__signature__ = signature.replace(parameters=[*signature.parameters.values(), asked_for])  # type: ignore[attr-defined]
        explore.__name__, explore.__qualname__ = test.__name__, test.__qualname__
        explore.__doc__, explore.__module__ = test.__doc__, test.__module__
        explore.pytestmark = list(getattr(test, "pytestmark", []))  # type: ignore[attr-defined]
        slow = [pytest.mark.slow, pytest.mark.timeout(AT_LENGTH_TIMEOUT_SECONDS)]
        return pytest.mark.parametrize("examples", [few, pytest.param(at_length, marks=slow)])(explore)

    return decorate
