"""How members are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.domain.commands import KINDS, MemberRef


@pytest.mark.parametrize(
    ("text", "ref", "written"),
    [
        ("ada", MemberRef("user", "ada"), "ada"),
        ("user:ada", MemberRef("user", "ada"), "ada"),
        ("anon:ada", MemberRef("anon", "ada"), "anon:ada"),
        ("urn:x:ada", MemberRef("user", "urn:x:ada"), "urn:x:ada"),
        ("user:anon:ada", MemberRef("user", "anon:ada"), "user:anon:ada"),
        ("user:user", MemberRef("user", "user"), "user"),
        ("anon:user:", MemberRef("anon", "user:"), "anon:user:"),
    ],
)
def test_a_name_and_its_member(text: str, ref: MemberRef, written: str) -> None:
    assert MemberRef.parse(text) == ref
    assert str(ref) == written


@given(
    kind=st.sampled_from(KINDS),
    prefix=st.sampled_from(["", "user:", "anon:", "group:", "x:"]),
    rest=st.text(min_size=1, max_size=9),
)
def test_a_written_name_is_read_as_the_same_member(kind: str, prefix: str, rest: str) -> None:
    ref = MemberRef(kind, prefix + rest)
    assert MemberRef.parse(str(ref)) == ref
