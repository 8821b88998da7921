"""`rewards program` on a program in the database, as real processes: publish, look, roll back, pause, simulate."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.command import environment, run
from tests.service import live, service_settings

from rewards.cli.owned_program import summary
from rewards.domain.program.diff import RESTARTS, Change, FieldChange

DOCUMENT = """\
rewards: 1
program: {key: KEY, timezone: UTC}
currencies: {coins: {worth: 1}}
events: {played: {}}
rules:
  - {key: play, on: played, then: [{earn: {currency: coins, amount: AMOUNT}}]}
"""


def test_the_life_of_a_program(migrated_url: str, redis_url: str, tmp_path: Path) -> None:
    def rewards(*arguments: str) -> tuple[int, str, str]:
        ran = run("program", *arguments, environment=environment(migrated_url, redis_url))
        return ran.returncode, ran.stdout, ran.stderr

    def written(amount: str) -> str:
        path = tmp_path / f"{amount.strip('-')}.yaml"
        path.write_text(DOCUMENT.replace("KEY", "owned").replace("AMOUNT", amount))
        return str(path)

    code, _, said = rewards("publish", written("1"))
    assert (code, said) == (1, "Error: there is no program 'owned'; --create makes it\n")
    assert rewards("publish", written("1"), "--create", "--note", "the first") == (
        0,
        "Version 1 is published, the first of the program.\n",
        "",
    )
    code, said, _ = rewards("publish", written("2"))
    assert (code, said.splitlines()) == (
        0,
        [
            "Version 2 is published in place of version 1.",
            "  rules  changed  play: then.0.earn.amount: 1 → 2",
            "All of it: rewards program diff --program owned --from 1 --to 2",
        ],
    )
    assert rewards("publish", written("2")) == (0, "Version 2 is published already; nothing was changed.\n", "")

    code, said, _ = rewards("diff", written("3"), "--program", "owned")
    assert (code, "then.0.earn.amount: 2 → 3" in said) == (0, True)
    (tmp_path / "events.jsonl").write_text(
        '{"id": "1", "type": "played", "member": "ada", "occurred_at": "2026-11-01T10:00:00Z"}\n'
    )
    code, said, _ = rewards("simulate", written("3"), "--events", str(tmp_path / "events.jsonl"), "--program", "owned")
    assert code == 0
    assert ["coins", "issued", "2", "3", "+1"] in [line.split() for line in said.splitlines()]
    for whose in ([], ["--program", "owned"]):  # by default those of the one in the document
        code, said, _ = rewards("simulate", written("3"), "--recorded", *whose)
        assert (code, said.splitlines()[0]) == (0, "0 events of 0 members.")

    code, said, _ = rewards("rollback", "--program", "owned")
    assert (code, said.splitlines()[0]) == (0, "Version 1 is published in place of version 2.")
    assert "then.0.earn.amount: 2 → 1" in said
    assert rewards("pause", "play", "--program", "owned", "--reason", "too much")[0] == 0
    code, said, _ = rewards("versions", "--program", "owned")
    lines = [line.split() for line in said.splitlines()]
    assert (code, [line[:2] for line in lines[1:3]]) == (0, [["2", "superseded"], ["1", "published"]])
    assert lines[3] == ["paused", "play", "by", "cli:", "too", "much"]
    assert rewards("resume", "play", "--program", "owned") == (0, "play may fire again.\n", "")
    code, _, said = rewards("rollback", "--program", "owned", "--to", "9")
    assert (code, "no version 9; `rewards program versions` lists" in said) == (1, True)
    code, _, said = rewards("resume", "pley", "--program", "owned")
    assert (code, "did you mean play?" in said) == (1, True)


def test_what_keeps_a_document_from_being_published_is_told_once(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    test = '  - {name: NAME, given: [{at: "2026-11-21T10:00:00Z", member: ada, type: played}], expect: {ada: {balances: {coins: 7}}}}\n'
    path = tmp_path / "failing.yaml"
    document = DOCUMENT.replace("KEY", "failing").replace("AMOUNT", "1") + "tests:\n"
    path.write_text(document + "".join(test.replace("NAME", name) for name in ("first", "second")))
    ran = run("program", "publish", str(path), "--create", environment=environment(migrated_url, redis_url))
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "Error: tests.0: first: ada: expected 7 coins available, found 1 [test-failed], and 1 more",
        "  tests.1: second: ada: expected 7 coins available, found 1",
    ]


def test_a_program_that_cannot_be_published_is_not_made(migrated_url: str, redis_url: str, tmp_path: Path) -> None:
    def rewards(*arguments: str) -> tuple[int, str]:
        ran = run(*arguments, environment=environment(migrated_url, redis_url))
        return ran.returncode, ran.stdout + ran.stderr

    path = tmp_path / "honest.yaml"
    path.write_text(DOCUMENT.replace("KEY", "honest").replace("AMOUNT", "1"))
    code, said = rewards("program", "publish", str(path), "--program", "honset", "--create")
    assert (code, "this is the program 'honest', not 'honset'" in said) == (1, True), said
    code, said = rewards("program", "versions", "--program", "honset")
    assert (code, "there is no program 'honset'" in said) == (1, True), said
    assert rewards("program", "publish", str(path), "--create")[0] == 0
    code, said = rewards("program", "versions", "--program", "honset")
    assert (code, "did you mean honest?" in said) == (1, True), said


async def test_a_version_with_mistakes_makes_no_sandbox(migrated_url: str, redis_url: str) -> None:
    source = DOCUMENT.replace("KEY", "faulty").replace("AMOUNT", "1")

    def rewards(*arguments: str) -> tuple[int, str]:
        ran = run(*arguments, environment=environment(migrated_url, redis_url))
        return ran.returncode, ran.stdout + ran.stderr

    async with live(service_settings(migrated_url, redis_url), source) as running:
        for mistake in (source.replace("on: played", "on: plaid"), source.replace("rules:", "ruled:")):
            drafted = await running.client.post(
                "/v1/programs/versions", content=mistake, headers={"Content-Type": "application/yaml"}
            )
            number = str(drafted.json()["version"]["number"])
            code, said = await asyncio.to_thread(
                rewards, "sandbox", "create", "--program", running.program_key, "--version", number
            )
            assert (code, "did you mean" in said, "Traceback" in said) == (1, True, False), said
        code, said = await asyncio.to_thread(rewards, "sandbox", "create", "--program", running.program_key)
        assert code == 0, said
        for line, wanted in (
            ("--member nobody", "has no member nobody"),
            ("--currency cions", "no currency 'cions'"),
            ("--member ada --currency cions", "no currency 'cions'"),
            ("--member ada --currency coins", "coins"),
        ):
            await running.event(type="played", member="ada")
            code, said = await asyncio.to_thread(
                rewards, "ledger", "statement", "--program", running.program_key, *line.split()
            )
            assert (code, wanted in said) == (0 if wanted == "coins" else 1, True), (line, said)


def test_the_summary_is_short_and_aligned() -> None:
    changes = [
        Change("program", "shop", "changed", tuple(FieldChange(f"f{number}", 1, 2) for number in range(3))),
        Change("metrics", "spent", "changed", (FieldChange("per", "day", "week"),), RESTARTS),
        *(Change("metrics", key, "removed") for key in ("orders", "views")),
        *(Change("rules", f"rule_{number}", "added") for number in range(100)),
        Change("rules", "play", "moved"),
    ]
    assert summary(changes)[:3] == [
        "  program  changed  shop: 3 fields",
        f"  metrics  changed  spent: per: day → week ({RESTARTS})",
        "  metrics  removed  orders, views",
    ]
    assert summary(changes)[3].startswith("  rules    added    rule_0, rule_1, ")
    assert [len(line) for line in summary(changes)[3:4]] == [160]
    assert summary(changes)[4:] == ["  rules    moved    play"]
