"""The wheel: everything that runs is in it, and it runs from any folder without the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
import soundfile

from f5_tts_server import __version__
from tests.server import ROOT, Server, server_of


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves a build folder beside the sources, and would pack what is old in it."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in (
        *ROOT.glob("requirements*.txt"),
        *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")),
    ):
        shutil.copy(path, source)
    shutil.copytree(
        ROOT / "f5_tts_server", source / "f5_tts_server", ignore=shutil.ignore_patterns("__pycache__", ".*")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands of an empty virtual environment with the wheel in it; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    assert (packages / "f5_tts_server").is_dir()
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("F5_", "PYTHON", "VIRTUAL_ENV"))}


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    """A page or a weights file that is not packed is missed only by who installs it."""
    tracked = subprocess.run(
        ["git", "ls-files", "f5_tts_server"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    files = set(tracked) or {  # a source archive has no git
        str(path.relative_to(ROOT))
        for path in (ROOT / "f5_tts_server").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert packed == files
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        facts = message_from_bytes(archive.read(metadata))
    assert facts["Version"] == __version__
    pinned = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    needed = [str(line) for line in facts.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(needed) == sorted(pinned)


def test_the_installed_command_serves_from_another_folder(bin_folder: Path, tmp_path: Path) -> None:
    command = [str(bin_folder / "f5-tts-serve"), "serve", "--port", "0", "--buckets", "384", "--slots", "2"]
    with server_of(command, cwd=tmp_path, environment=environment()) as server:
        serves(server)


def serves(server: Server) -> None:
    page = httpx.get(server.url)
    assert page.status_code == 200 and "<script" in page.text
    for script in ("page.js", "page.css", "icon.svg"):
        assert httpx.get(f"{server.url}/static/{script}").status_code == 200
    assert httpx.get(f"{server.url}/openapi.json").json()["info"]["version"] == __version__
    assert httpx.get(f"{server.url}/v1/audio/voices").json()["default"] == "ada"
    server.wait_until_ready()
    reply = httpx.post(f"{server.url}/v1/generate", json={"gen_text": "Hello.", "num_inference_steps": 2}, timeout=60)
    assert reply.status_code == 200, reply.text


def test_the_installed_command_speaks_and_works_off_a_file(bin_folder: Path, tmp_path: Path) -> None:
    command = str(bin_folder / "f5-tts-serve")
    spoken = subprocess.run(
        [command, "speak", "Hello there.", "-o", "hello.wav", "--steps", "2"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert spoken.returncode == 0, spoken.stderr
    assert soundfile.info(tmp_path / "hello.wav").duration > 0.3
    (tmp_path / "lines.jsonl").write_text("")
    worked = subprocess.run(
        [command, "offline", "lines.jsonl", "--out", "made"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert worked.returncode == 0, worked.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["speak", "--help"], ["offline", "--help"]])
def test_questions_are_answered_without_a_server(bin_folder: Path, tmp_path: Path, arguments: list[str]) -> None:
    asked = subprocess.run(
        [str(bin_folder / "f5-tts-serve"), *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0 and "f5-tts-serve" in asked.stdout, asked.stderr
