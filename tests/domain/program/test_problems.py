"""What a refusal of an unknown name says of those that are known."""

from __future__ import annotations

import pytest

from rewards.domain.program.problems import KNOWN_SHOWN_MAX, meant


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("wekly", {"weekly", "daily"}, "; did you mean weekly?"),
        ("monthly_reading", {"weekly", "daily"}, "; it has daily, weekly"),
        ("weekly", (), "; it has none"),
        ("x", [f"key_{number:02}" for number in range(KNOWN_SHOWN_MAX)], ", key_19"),
        ("x", [f"key_{number:02}" for number in range(KNOWN_SHOWN_MAX + 1)], ", key_19, …"),
    ],
)
def test_an_unknown_name_is_told_what_is_known(name: str, known: list[str], says: str) -> None:
    assert meant(name, known).endswith(says)
