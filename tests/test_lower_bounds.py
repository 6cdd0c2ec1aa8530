"""The oldest releases that are tested are the oldest that pyproject.toml admits."""

import configparser
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TOX = configparser.ConfigParser(interpolation=None)
TOX.read(ROOT / "tox.ini", "utf-8")


def installed(environment):
    """The release of each package that a tox environment pins."""
    lines = (ROOT / "constraints-oldest.txt").read_text("utf-8").splitlines()
    lines += TOX[environment]["deps"].splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def admitted(environment):
    """The oldest release of each package that an environment's extras admit."""
    requirements = [*PROJECT["dependencies"]]
    for extra in TOX[environment]["extras"].split():
        requirements += PROJECT["optional-dependencies"][extra]
    oldest = {}
    for requirement in map(Requirement, requirements):
        (bound,) = requirement.specifier
        assert bound.operator == ">=", requirement
        oldest[requirement.name] = max(
            Version(bound.version), oldest.get(requirement.name, Version("0"))
        )
    return oldest


@pytest.mark.parametrize("environment", ["testenv:oldest", "testenv:oldest-onnx"])
def test_every_lower_bound_is_installed_in_an_environment(environment):
    pins = installed(environment)
    wrong = {
        name: (str(bound), pins.get(name))
        for name, bound in admitted(environment).items()
        if name not in pins
        or Version(pins[name]).release[: len(bound.release)] != bound.release
    }
    assert wrong == {}


def test_the_extras_of_users_are_all_installed_with_their_oldest_dependencies():
    tested = {*TOX["testenv:oldest"]["extras"].split()}
    tested |= {*TOX["testenv:oldest-onnx"]["extras"].split()}
    for_developers = {"bench", "dev", "docs"}
    assert tested == PROJECT["optional-dependencies"].keys() - for_developers
