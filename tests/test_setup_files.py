"""Scripts for clusters, the lock file and the Dockerfile: what can be checked without them."""

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.lock import FILES, locked, requirements

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "docs" / "cluster").iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash_and_their_options_exist(script):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    for command, method, options in re.findall(r"(\w+)\.py (\w+) (.*?)(?:\"\$@\"|$)", text, re.S):
        if not method.islower() or command == "torchrun":
            continue
        help_text = subprocess.run(
            ["grep", "-rhoE", r"^    \w+: .* = option\(", ROOT / "methods" / method / "config.py"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        known = set(re.findall(r"^    (\w+):", help_text, re.MULTILINE))
        assert set(re.findall(r"--(\w+)", options)) <= known, script.name


def test_the_lock_file_holds_versions_that_the_requirements_allow():
    lines = (ROOT / "requirements-lock.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for wanted in requirements(FILES):
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        assert wanted.specifier.contains(pins[name]), f"{name}: run make lock"


@pytest.mark.parametrize(
    ("asked", "installs"),
    [
        ({}, ["-r requirements.txt"]),
        ({"REQUIREMENTS": "requirements-cuda12.txt"}, ["-r requirements-cuda12.txt"]),
        (
            {"TORCH_INDEX": "https://index.example/cpu"},
            [
                "--index-url https://index.example/cpu -r requirements-torch.txt",
                "-r requirements-common.txt",
            ],
        ),
    ],
)
def test_make_installs_what_is_asked_for(tmp_path, asked, installs):
    for path in (ROOT / "Makefile", *ROOT.glob("requirements*.txt")):
        shutil.copy(path, tmp_path)
    environment = {"PATH": os.environ["PATH"], **asked}
    told = subprocess.run(
        ["make", "-n", "demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.findall(r"pip install --disable-pip-version-check -q (.*)", told) == installs


def test_installs_differ_in_pytorch_and_cupy_alone():
    def names(file: str) -> set[str]:
        return {one.name for one in requirements((file,))}

    common = names("requirements-common.txt")
    torch = names("requirements-torch.txt")
    assert names("requirements.txt") == common | torch | {"cupy-cuda13x"}
    assert names("requirements-cuda12.txt") == common | torch | {"cupy-cuda12x"}
    assert torch == {"torch", "torchvision"} and not common & torch


def test_locking_follows_what_packages_need():
    found = locked([Requirement("matplotlib")])
    assert found["matplotlib"] == version("matplotlib")
    assert {"numpy", "pillow", "python-dateutil"} <= found.keys()
    assert "torch" not in found


def test_the_dockerfile_copies_what_is_there():
    text = (ROOT / "Dockerfile").read_text()
    for name in re.findall(r"-r (\S+)", text):
        assert (ROOT / name).is_file()
    targets = re.findall(r"make (\S+?)[\s\"]", text + "\n")
    assert {"gpu-check"} <= set(targets)
