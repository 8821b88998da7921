"""Which of several texts a member is shown."""

import pytest

from rewards.domain.program.wording import worded

TEXTS = {"en": "Hello", "de": "Hallo", "de-AT": "Servus", "pt-BR": "Oi", "zh-Hans": "你好"}


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("de", "Hallo"),
        ("de-AT", "Servus"),
        ("de-AT-1996", "Servus"),
        ("de-CH", "Hallo"),
        ("pt-BR", "Oi"),
        # Browsers and phones write tags as they please.
        ("pt-br", "Oi"),
        ("DE-at", "Servus"),
        ("DE", "Hallo"),
        ("zh-hans-CN", "你好"),
        # What the program does not speak is said in its own language.
        ("pt", "Hello"),
        ("fr", "Hello"),
        (None, "Hello"),
    ],
)
def test_a_text_is_looked_up_by_the_members_locale(locale: str | None, shown: str) -> None:
    assert worded(TEXTS, locale, "en") == shown


@pytest.mark.parametrize(
    ("texts", "shown"), [({}, None), ({"fr": "Salut"}, "Salut"), ({"pt-BR": "Oi", "fr": "Salut"}, "Oi")]
)
def test_else_any_that_there_is(texts: dict[str, str], shown: str | None) -> None:
    assert worded(texts, "de", "pt-br") == shown
