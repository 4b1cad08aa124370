"""The README is the product's front page: its commands, keys and settings are the real ones, and its walk is walked."""

import html
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from pipeline import cli
from pipeline.config import ModelConfig, written
from pipeline.settings import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = get_command(cli.app).commands


def keys(section: type[BaseModel] = ModelConfig, above: str = "") -> list[tuple[str, str, str]]:
    """Every key of model.yaml with its meaning and default, in the order of the file."""
    found = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += keys(field.annotation, f"{above}{name}.")
        else:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            text = written(default) if isinstance(default, timedelta) else "" if default is None else str(default)
            found.append((f"{above}{name}", field.description or "", text))
    return found


def row(key: str, meaning: str, default: str) -> str:
    meaning = html.escape(meaning, quote=False).replace("|", r"\|")
    return f"| `{key}` | {meaning} | {default} |"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("key", keys(), ids=lambda key: key[0])
def test_every_key_stands_in_the_readme_with_its_meaning_and_default(key):
    assert key[1], "the key has no description in config.py"
    assert row(*key) in README.splitlines()


def test_the_readme_names_no_key_that_is_gone():
    section = README.partition("## Add a model")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert named == [key for key, _, _ in keys()]


@pytest.mark.parametrize("command", sorted(set(re.findall(r"zeta ([a-z][a-z-]*)", README))))
def test_every_zeta_command_in_the_readme_exists(command):
    assert command in COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_text_that_prints(command):
    shown = subprocess.run([ROOT / ".venv/bin/zeta", command, "--help"], capture_output=True, text=True, check=True)
    assert COMMANDS[command].help.split()[0] in shown.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))))
def test_every_make_target_in_the_readme_exists(target):
    assert subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True).returncode == 0


def test_every_setting_in_the_readme_is_read_and_every_one_that_is_read_is_in_it():
    named = set(re.findall(r"^\| `([A-Z_]+)", README, re.MULTILINE))
    source = Path(ROOT / "pipeline/settings.py").read_text(encoding="utf-8")
    assert named == set(re.findall(r"\b((?:ZETA|MLFLOW)_[A-Z_]+)", source))


def test_every_option_in_the_readme_exists():
    for name, rest in re.findall(r"zeta ([a-z][a-z-]*)([^\n`]*)", "\n".join(blocks("sh"))):
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options
