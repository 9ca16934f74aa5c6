"""The deployment files against the server that they deploy: paths, settings and times that must fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from f5_tts_server.app import PROBE_PATHS
from f5_tts_server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_every_setting_that_is_set_exists() -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            for name in re.findall(r"\bF5_[A-Z][A-Z_]*\b", path.read_text("utf-8")):
                assert name in known, f"{path.relative_to(ROOT)} sets {name}"


def test_the_image_starts_the_command_that_the_wheel_brings() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (command,) = re.findall(r'ENTRYPOINT \["/opt/f5/bin/(.+)"\]', DOCKERFILE)
    assert command in project["scripts"]
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


def test_pods_are_probed_where_the_server_answers_and_live_as_long_as_their_streams() -> None:
    spec = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert {"/livez", "/readyz"} <= set(PROBE_PATHS)
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    (pause,) = re.findall(r"sleep\((\d+)\)", str(container["lifecycle"]))
    assert spec["terminationGracePeriodSeconds"] > float(environment["F5_GRACE_S"]) + float(pause)
    assert container["securityContext"]["readOnlyRootFilesystem"] and spec["securityContext"]["runAsNonRoot"]


def test_every_folder_that_the_image_writes_to_is_a_volume() -> None:
    """With a read-only root the server writes to its cache, its voices and /tmp, and nowhere else."""
    written = re.findall(r"(?:HF_HOME|F5_COMPILATION_CACHE|F5_VOICES_FOLDER)=(/\w+)", DOCKERFILE)
    assert written == ["/cache", "/cache", "/voices"]
    (container,) = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {*written, "/tmp"}
    service = read("compose.yaml")["services"]["speech"]
    assert service["read_only"]
    assert {volume.partition(":")[2] for volume in service["volumes"]} | set(service["tmpfs"]) == {*written, "/tmp"}
    assert seconds(service["stop_grace_period"]) > float(service["environment"]["F5_GRACE_S"])


def test_kubernetes_accepts_what_kustomize_makes() -> None:
    """By the schemas of the Kubernetes release; KEDA's object has none there."""
    validate = pytest.importorskip("kubernetes_validate").validate
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    made = subprocess.run(["kubectl", "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, check=True).stdout
    objects = [one for one in yaml.safe_load_all(made) if not one["apiVersion"].startswith("keda.sh")]
    assert {one["kind"] for one in objects} == {
        "Deployment", "Service", "PodDisruptionBudget", "PersistentVolumeClaim",
    }  # fmt: skip
    for one in objects:
        validate(one, "1.31", strict=True)


def test_autoscaling_asks_for_a_metric_that_the_server_has() -> None:
    """The query was once written before the metric was."""
    (trigger,) = read("kubernetes/scaling.yaml")["spec"]["triggers"]
    (metric,) = re.findall(r"sum\((f5_\w+)\)", trigger["metadata"]["query"])
    source = (ROOT / "f5_tts_server" / "tts_engine.py").read_text("utf-8")
    assert f'"{metric}"' in source


def test_proxies_wait_longer_than_the_server_is_silent_and_take_what_it_takes() -> None:
    defaults = Settings.model_fields
    nginx = (DEPLOY / "nginx.conf").read_text("utf-8")
    (silent,) = re.findall(r"proxy_read_timeout (\w+);", nginx)
    assert seconds(silent) > defaults["ping_s"].default
    (size,) = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert float(size) == defaults["max_body_mib"].default
    (idle,) = re.findall(r"stream_idle_timeout: (\w+)", (DEPLOY / "envoy.yaml").read_text("utf-8"))
    assert seconds(idle) > defaults["ping_s"].default
