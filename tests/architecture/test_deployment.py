"""What is shipped beside the code: compose.yaml against the tool that reads it, and the lock files."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = shutil.which("docker-compose")
SECRETS: Final = {
    "REWARDS_SECRET_KEY": "sealing",
    "REWARDS_POSTGRES_PASSWORD": "storing",
    "REWARDS_VALKEY_PASSWORD": "caching",
}


def compose(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    if COMPOSE is None:
        pytest.skip("docker-compose is not installed (Debian package: docker-compose)")
    return subprocess.run(
        [COMPOSE, "--project-directory", str(ROOT), "--file", str(ROOT / "compose.yaml"), "config"],
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def services() -> dict[str, Any]:
    document = YAML(typ="safe").load(ROOT / "compose.yaml")
    return dict(document["services"])


def test_compose_file_is_valid() -> None:
    result = compose(SECRETS)
    assert result.returncode == 0, result.stderr
    configured = YAML(typ="safe").load(result.stdout)["services"]
    assert set(configured) == {"api", "worker", "migrate", "postgres", "valkey"}
    assert "postgresql://rewards:storing@postgres:5432/rewards" in str(configured["api"])


@pytest.mark.parametrize("secret", SECRETS)
def test_compose_file_has_no_default_secret(secret: str) -> None:
    result = compose({name: value for name, value in SECRETS.items() if name != secret})
    assert result.returncode != 0
    assert "Missing mandatory value" in result.stderr


@pytest.mark.parametrize("name", ["api", "postgres", "valkey"])
def test_what_others_wait_for_has_a_health_check(name: str) -> None:
    assert services()[name]["healthcheck"]["test"]


def test_only_the_service_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:${REWARDS_PORT:-8000}:8000"]}


@pytest.mark.parametrize(
    ("lock", "group"), [("requirements.lock", "dev"), ("requirements-runtime.lock", "build")], ids=["all", "runtime"]
)
def test_lock_pins_all_that_the_project_asks_for(lock: str, group: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = project["project"]["dependencies"] + project["dependency-groups"][group]
    names = {canonical(requirement) for requirement in asked if isinstance(requirement, str)}
    text = (ROOT / lock).read_text()
    assert names <= set(re.findall(r"^([a-z0-9-]+)==", canonical_lines(text), flags=re.MULTILINE))
    assert text.count("==") <= text.count("--hash=sha256:")
    assert "://" not in text


def canonical(requirement: str) -> str:
    name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def canonical_lines(text: str) -> str:
    """Without extras: `sqlalchemy[asyncio]==2` is `sqlalchemy==2`."""
    return re.sub(r"\[[a-z,]+\]", "", text)
