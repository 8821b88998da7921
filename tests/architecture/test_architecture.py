"""The house as DESIGN.md draws it: who may import whom, how large things may grow, and where the world comes in."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src"

MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60

# Each part of the house, and the parts that it may import: app, worker, cli → features → pipeline → outbox, db, valkey
# → domain, with http beside db. Whatever is listed here may also import itself; a feature only itself (see below).
FOUNDATION: Final = {"domain", "settings", "telemetry"}
STORAGE: Final = FOUNDATION | {"outbox", "db", "valkey", "http"}
MAY_IMPORT: Final[dict[str, set[str]]] = {
    "domain": set(),
    "settings": set(),
    "telemetry": {"settings"},
    "local": set(),
    "db": FOUNDATION,
    "valkey": FOUNDATION,
    "http": FOUNDATION | {"db", "valkey"},
    "outbox": FOUNDATION | {"db", "valkey"},
    "pipeline": STORAGE,
    "features": STORAGE | {"pipeline"},
    "service": STORAGE | {"pipeline", "features"},
    "worker": STORAGE | {"pipeline", "features", "service"},
    "app": STORAGE | {"pipeline", "features", "service", "worker"},
    "cli": STORAGE | {"pipeline", "features", "service", "worker", "app", "local"},
}
PURE_DOMAIN_NEVER_IMPORTS: Final = {
    *("asyncio", "asyncpg", "httpx", "litestar", "logging", "os", "random", "redis", "secrets"),
    *("socket", "sqlalchemy", "structlog", "subprocess", "threading", "time", "uvicorn"),
}
CLOCK_AND_CHANCE: Final = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.monotonic"),
    *("uuid1", "uuid4", "uuid.uuid1", "uuid.uuid4", "os.urandom"),
}


@dataclass(frozen=True, slots=True)
class Module:
    """A source file with its syntax tree. Its name is dotted, without `__init__`."""

    name: str
    tree: ast.Module
    lines: int

    @property
    def part(self) -> str:
        """`rewards.db.tables.ledger` is of the part `db`; `rewards.app` is the part `app`."""
        return part_of(self.name)

    def where(self, node: ast.AST) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 0)}"


def read_modules(source: Path) -> list[Module]:
    modules = []
    for path in sorted((source / "rewards").rglob("*.py")):
        text = path.read_text()
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        modules.append(Module(name, ast.parse(text, filename=str(path)), text.count("\n")))
    return modules


MODULES: Final = read_modules(SOURCE)


def part_of(name: str) -> str:
    return ".".join(name.split(".")[1:2])


def slice_of(name: str) -> str | None:
    """`rewards.features.events.queries` is of the slice `events`."""
    parts = name.split(".")
    return parts[2] if parts[1:2] == ["features"] and len(parts) > 2 else None


def imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported name, dotted: `from rewards.db import tables` is `rewards.db.tables`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)


def dotted(node: ast.expr) -> str:
    """`session.begin` of the expression `session.begin`; `().begin` where what is before the dot is no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "()"


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    return ((node, dotted(node.func)) for node in ast.walk(tree) if isinstance(node, ast.Call))


def wrong_imports(module: Module) -> Iterator[str]:
    for node, name in imports(module.tree):
        if name.startswith("."):
            yield f"{module.where(node)} imports {name} relatively"
        if not name.startswith("rewards."):
            continue
        part = part_of(name)
        if part != module.part and part not in MAY_IMPORT.get(module.part, set()) and part != "__version__":
            yield f"{module.where(node)} imports {name}"
        if module.part == part == "features" and slice_of(module.name) != slice_of(name):
            yield f"{module.where(node)} imports {name}, of another slice"


def unknown_parts(module: Module) -> Iterator[str]:
    if module.part and module.part != "__main__" and module.part not in MAY_IMPORT:
        yield f"{module.name} is of no part that MAY_IMPORT knows"


def impure_domain(module: Module) -> Iterator[str]:
    if module.part != "domain":
        return
    for node, name in imports(module.tree):
        if name.split(".")[0] in PURE_DOMAIN_NEVER_IMPORTS:
            yield f"{module.where(node)} imports {name}"
    for call, name in calls(module.tree):
        if ".".join(name.split(".")[-2:]) in CLOCK_AND_CHANCE or name in {"open", "print", "input"}:
            yield f"{module.where(call)} calls {name}()"
    for found in ast.walk(module.tree):
        if isinstance(found, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            yield f"{module.where(found)} is asynchronous"


def program_that_plays(module: Module) -> Iterator[str]:
    """A program is compiled without knowing what plays by it; only its own tests play."""
    if not module.name.startswith("rewards.domain.program.") or module.name == "rewards.domain.program.testing":
        return
    for node, name in imports(module.tree):
        if name.startswith("rewards.domain.play."):
            yield f"{module.where(node)} imports {name}"


def too_large(module: Module) -> Iterator[str]:
    if module.lines > MODULE_LINES_MAX:
        yield f"{module.name} has {module.lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{module.where(node)} {node.name} has {lines} lines"


def environment_reads(module: Module) -> Iterator[str]:
    if module.part == "settings":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and dotted(node) in {"os.environ", "os.environb", "os.getenv"}:
            yield f"{module.where(node)} reads {dotted(node)}"
    for statement, name in imports(module.tree):
        if name in {"os.environ", "os.getenv"}:
            yield f"{module.where(statement)} imports {name}"


def commits(module: Module) -> Iterator[str]:
    # The domain holds no connection (see above); the schema has a transaction of its own.
    if module.part == "domain" or module.name in {"rewards.db.transact", "rewards.db.migrate"}:
        return
    for call, name in calls(module.tree):
        before, _, method = name.rpartition(".")
        if before and method in {"commit", "begin", "begin_nested", "begin_twophase"}:
            yield f"{module.where(call)} calls {name}()"


Rule = Callable[[Module], Iterator[str]]
RULES: Final[list[Rule]] = [
    *(wrong_imports, unknown_parts, impure_domain, program_that_plays, too_large, environment_reads, commits),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_is_whole(rule: Rule) -> None:
    assert [finding for module in MODULES for finding in rule(module)] == []


def test_there_is_a_house() -> None:
    assert "rewards.domain" in {module.name for module in MODULES}


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (wrong_imports, "rewards.domain.apply", "from rewards.db import engine"),
        (wrong_imports, "rewards.domain.apply", "from rewards import settings"),
        (wrong_imports, "rewards.db.engine", "import rewards.pipeline.lanes"),
        (wrong_imports, "rewards.pipeline.lanes", "from rewards.features.events.rows import rows"),
        (wrong_imports, "rewards.features.events.rows", "from rewards.features.wallets import queries"),
        (wrong_imports, "rewards.features.events.rows", "from rewards.features import wallets"),
        (wrong_imports, "rewards.features.events.rows", "from . import queries"),
        (wrong_imports, "rewards.app", "from rewards.local import LocalServers"),
        (wrong_imports, "rewards.local.servers", "from rewards.settings import Settings"),
        (unknown_parts, "rewards.utils", ""),
        (impure_domain, "rewards.domain.apply", "import sqlalchemy as sa"),
        (impure_domain, "rewards.domain.apply", "from random import choice"),
        (impure_domain, "rewards.domain.apply", "today = datetime.datetime.now(UTC)"),
        (impure_domain, "rewards.domain.apply", "id = uuid4()"),
        (impure_domain, "rewards.domain.apply", "async def apply(): ..."),
        (program_that_plays, "rewards.domain.program.compile", "from rewards.domain.play.cells import clamp"),
        (too_large, "rewards.app", "def f():\n" + "    x = 1\n" * 60),
        (too_large, "rewards.app", "\n" * 401),
        (environment_reads, "rewards.app", "import os\nkey = os.environ['KEY']"),
        (environment_reads, "rewards.app", "from os import getenv"),
        (commits, "rewards.features.events.jobs", "await session.commit()"),
        (commits, "rewards.db.engine", "async with engine.begin() as connection: ..."),
    ],
)
def test_a_breach_is_found(rule: Rule, name: str, text: str) -> None:
    source = f"async def wrap():\n    {text}" if "await" in text or "async with" in text else text
    assert len(list(rule(Module(name, ast.parse(source), text.count("\n"))))) == 1


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (wrong_imports, "rewards.features.events.rows", "from rewards.features.events import queries"),
        (wrong_imports, "rewards.cli.local", "from rewards.local import LocalServers"),
        (wrong_imports, "rewards.cli", "from rewards import __version__"),
        (impure_domain, "rewards.domain.apply", "from datetime import datetime\nfrom uuid import UUID"),
        (too_large, "rewards.app", "def f():\n" + "    x = 1\n" * 59),
        (environment_reads, "rewards.settings", "import os\nkey = os.environ['KEY']"),
        (commits, "rewards.db.transact", "connection.commit()"),
    ],
)
def test_what_is_allowed_passes(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Module(name, ast.parse(text), text.count("\n")))) == []
