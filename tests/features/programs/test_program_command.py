"""`rewards program` on files, as a person would run it: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from rewards.cli.program import program
from rewards.settings import SettingsError

DOCUMENT: Final = """\
rewards: 1
program: {key: games, timezone: UTC}
currencies:
  coins: {name: Coins, worth: 2}
events:
  played: {properties: {minutes: integer}}
rules:
  - key: play
    on: played
    when: event.minutes > 5
    then: [{earn: {currency: coins, amount: 3}}]
tests:
  - name: playing pays
    given: [{at: "2026-11-21T10:00:00Z", member: ada, type: played, properties: {minutes: 6}}]
    expect: {ada: {balances: {coins: 3}}}
"""


@dataclass
class Desk:
    """A directory with documents, and the command that reads them."""

    directory: Path

    def write(self, name: str, *changes: tuple[str, str]) -> str:
        written = DOCUMENT
        for before, after in changes:
            assert before in written
            written = written.replace(before, after)
        path = self.directory / name
        path.write_text(written)
        return str(path)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(program, arguments, catch_exceptions=False)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_good_document_is_ok(desk: Desk) -> None:
    found = desk.run("check", desk.write("games.yaml"))
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.endswith("games.yaml: ok, 1 rule, 0 metrics, 1 test\n")


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (
            ("> 5", "> > 5"),
            """\
FILE:10:5: error: rules.play.when: found '>' where a value should be [syntax]
    event.minutes > > 5
                    ^
FILE: 1 error, 0 warnings
""",
        ),
        (
            ("on: played", "on: playd"),
            """\
FILE:9:5: error: rules.play.on: unknown event 'playd'; did you mean played? [unknown-event]
        on: playd
        ^
FILE: 1 error, 0 warnings
""",
        ),
    ],
    ids=["inside a condition", "in the file"],
)
def test_a_mistake_is_shown_where_it_is(desk: Desk, change: tuple[str, str], shown: str) -> None:
    file = desk.write("games.yaml", change)
    found = desk.run("check", file)
    assert found.exit_code == 1
    assert found.stderr.replace(file, "FILE") == shown


def test_every_mistake_is_in_the_json_report(desk: Desk) -> None:
    file = desk.write("games.yaml", ("on: played", "on: playd"), ("coins: 3}", "coin: 3}"))
    found = desk.run("check", "--json", file)
    assert found.exit_code == 1
    codes = [each["code"] for each in json.loads(found.stdout)["errors"]]
    assert codes == ["unknown-event", "unknown-currency"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ([], 0, "passed  playing pays\n1 passed, 0 failed\n"),
        (
            [("coins: 3}", "coins: 4}")],
            1,
            "failed  playing pays\n        ada: expected 4 coins available, found 3\n0 passed, 1 failed\n",
        ),
    ],
)
def test_a_document_runs_its_tests(desk: Desk, changes: list[tuple[str, str]], code: int, said: str) -> None:
    found = desk.run("test", desk.write("games.yaml", *changes))
    assert (found.exit_code, "\n".join(line.rstrip() for line in found.stdout.splitlines()) + "\n") == (code, said)


def test_documents_are_compared_by_meaning(desk: Desk) -> None:
    one, other = (
        desk.write("one.yaml"),
        desk.write("other.yaml", ("amount: 3", "amount: 4"), ("coins: 3}", "coins: 4}")),
    )
    found = desk.run("diff", one, other)
    assert found.exit_code == 0
    assert "~ rules.play\n    then.0.earn.amount: 3 → 4\n" in found.stdout
    assert desk.run("diff", one, one).stdout == "No change.\n"


def test_docs_and_schema(desk: Desk) -> None:
    assert "flowchart" in desk.run("docs", desk.write("games.yaml")).stdout
    assert json.loads(desk.run("schema").stdout)["title"] == "Rewards program"


@pytest.mark.parametrize(
    "arguments",
    [
        ("diff",),
        ("docs",),
        ("check", "nothing.yaml"),
        ("simulate", "FILE"),
        ("simulate", "FILE", "--events", "FILE", "--from", "2026-11-01"),
        ("simulate", "FILE", "--events", "FILE", "--to", "2026-11-01"),
        ("simulate", "FILE", "--events", "FILE", "--against", "FILE", "--program", "games"),
        ("simulate", "FILE", "--recorded", "--from", "2026-11-02", "--to", "2026-11-01"),
        ("diff", "FILE", "FILE", "--from", "1"),
        ("diff", "FILE", "FILE", "--to", "1"),
        ("docs", "FILE", "--version", "1"),
        ("publish", "--version", "1", "--note", "why"),
        ("publish", "--version", "1", "--create"),
        ("publish",),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two(desk: Desk, arguments: tuple[str, ...]) -> None:
    file = desk.write("games.yaml")
    found = desk.run(*(file if argument == "FILE" else argument for argument in arguments))
    assert (found.exit_code, found.stdout) == (2, "")


def played(number: int, day: int, minutes: int, member: str = "ada", **more: Any) -> dict[str, Any]:
    moment = f"2026-11-{day:02}T10:00:00Z"
    properties = {"minutes": minutes}
    return {
        "id": f"e{number}",
        "type": "played",
        "member": member,
        "occurred_at": moment,
        "properties": properties,
    } | more


def write_events(path: Path, *events: dict[str, Any] | str) -> str:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in events))
    return str(path)


def test_a_simulation_says_what_would_change(desk: Desk) -> None:
    events = write_events(
        desk.directory / "events.jsonl",
        played(2, 2, 9),
        played(1, 1, 4),
        played(3, 3, 9, "bob"),
        played(3, 3, 9, "bob"),
        '{"id": "broken"}',
    )
    before, after = desk.write("before.yaml"), desk.write("after.yaml", ("> 5", "> 3"))
    found = desk.run("simulate", after, "--events", events, "--against", before)
    assert found.exit_code == 0
    assert found.stderr == "line 5: Object missing required field `member`\n1 line is no event and was left out\n"
    rows = {cells[0]: cells[1:] for cells in map(cells_of, found.stdout.splitlines()) if cells}
    assert found.stdout.startswith(
        "4 events of 2 members until 2026-11-03 10:00 UTC.\n1 member would get something else."
    )
    assert rows["coins issued"] == ["6", "9", "+3"]
    assert rows["liability, EUR"] == ["0.12", "0.18", "+0.06"]
    assert rows["play"] == ["2", "3", "+1"]
    assert rows["duplicate"] == ["1", "1", "+0"]
    nothing = desk.run("simulate", after, "--events", write_events(desk.directory / "none.jsonl"))
    assert ["liability, EUR", "0.00"] in [cells_of(line) for line in nothing.stdout.splitlines()]


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("EUR", ["0.06", "0.08", "+0.02"]),
        ("JPY", ["6", "8", "+2"]),
        ("UYI", ["6", "8", "+2"]),
        ("KWD", ["0.006", "0.008", "+0.002"]),
    ],
)
def test_a_simulation_shows_money_with_the_digits_of_its_currency(desk: Desk, code: str, shown: list[str]) -> None:
    money = ("timezone: UTC", f"timezone: UTC, money: {code}")
    before = desk.write("before.yaml", money)
    after = desk.write("after.yaml", money, ("amount: 3", "amount: 4"))
    events = write_events(desk.directory / "events.jsonl", played(1, 1, 6))
    found = desk.run("simulate", after, "--events", events, "--against", before)
    [line] = [line for line in found.stdout.splitlines() if line.startswith("liability")]
    assert line.split()[2:] == shown


def test_a_simulation_names_the_lines_that_it_did_not_take(desk: Desk) -> None:
    """The first twenty of each kind, and how many more there are: as a table and as JSON."""
    file = desk.write("games.yaml")
    good, wrong = played(0, 1, 9), [played(number, 2, 0, properties={"minutes": "long"}) for number in range(1, 24)]
    events = write_events(desk.directory / "events.jsonl", *["no event"] * 21, good, *wrong)
    arguments = ("simulate", file, "--events", events)
    found = desk.run(*arguments)
    told = found.stderr.splitlines()
    assert [line.partition(":")[0] for line in told[:20]] == [f"line {number}" for number in range(1, 21)]
    assert told[20:22] == ["… and 1 more", "21 lines are no events and were left out"]
    assert [line.partition(": ")[0] for line in told[22:42]] == [f"line {number}" for number in range(23, 43)]
    assert "minutes" in told[22]
    assert told[42:] == ["… and 3 more", "23 events were rejected"]
    machine = json.loads(desk.run(*arguments, "--json").stdout)
    assert ([each["line"] for each in machine["bad_lines"]], machine["bad_lines_count"]) == (list(range(1, 21)), 21)
    assert machine["after"]["statuses"] == {"processed": 1, "rejected": 23}
    assert [each["line"] for each in machine["after"]["rejected_lines"]] == list(range(23, 43))
    assert all("minutes" in each["message"] for each in machine["after"]["rejected_lines"])


def test_a_document_may_come_through_a_pipe(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which can be read once only."""
    events = write_events(desk.directory / "events.jsonl", played(2, 2, 9))
    before = desk.write("before.yaml", ("amount: 3", "amount: 4"))
    for line in (["check", "-"], ["test", "-"], ["docs", "-"], ["diff", before, "-"]):
        assert CliRunner().invoke(program, line, input=DOCUMENT).exit_code == 0, line
    simulated = CliRunner().invoke(program, ["simulate", "-", "--events", events, "--against", before], input=DOCUMENT)
    assert (simulated.exit_code, simulated.stderr) == (0, "")
    assert ["coins", "issued", "4", "3", "-1"] in [line.split() for line in simulated.stdout.splitlines()]
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        monkeypatch.delenv(f"REWARDS_{name}", raising=False)
    for line in (["check", "-", "-"], ["diff", "-", "-"], ["simulate", "-", "--events", events, "--against", "-"]):
        twice = CliRunner().invoke(program, line, input=DOCUMENT)
        assert (twice.exit_code, "can be read once only" in twice.stderr) == (2, True), line
    published = CliRunner().invoke(program, ["publish", "-"], input=DOCUMENT)
    assert isinstance(published.exception, SettingsError), published.output  # it got as far as the database


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_no_database_and_no_settings_are_needed(desk: Desk) -> None:
    """A real process with an empty environment; no colours, since nobody looks at a pipe."""
    file = desk.write("games.yaml", ("on: played", "on: playd"))
    ran = subprocess.run(
        [sys.executable, "-m", "rewards.cli", "program", "check", file],
        capture_output=True,
        text=True,
        env={},
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "unknown event 'playd'" in ran.stderr
    assert "\x1b" not in ran.stderr
