"""What is given for clusters and services is what their programs read, and its `runner` commands are ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli import main

DEPLOY = Path(__file__).parents[1] / "scripts" / "deploy"
yaml = pytest.importorskip("yaml")  # comes with the test extra's packages


def commands_of(text: str) -> list[list[str]]:
    """The words behind `runner` wherever it is called."""
    lines = [
        line.split("&&")[-1] for line in text.splitlines() if not line.lstrip().startswith("Description")
    ]
    found = [re.search(r"(?:^|[\s/]|ExecStart=\S*/)runner (run|init|doctor)\b(.*)", line) for line in lines]
    return [[one[1], *shlex.split(one[2].rstrip(" &"))] for one in found if one]


@pytest.mark.parametrize("name", ["Dockerfile", "kubernetes.yaml", "skypilot.yaml", "runner@.service"])
def test_their_commands_are_taken(name):
    """A word that `runner` does not know would end each of fifty pods."""
    commands = commands_of((DEPLOY / name).read_text())
    assert commands
    for verb, *words in commands:
        main.commands[verb].make_context(verb, words, resilient_parsing=False).close()


def test_the_image_is_nobodys_root_and_copies_what_is_there():
    """It runs as a user of its own, with the loaders by which a card's driver is found."""
    text = (DEPLOY / "Dockerfile").read_text()
    steps = [line.split() for line in text.replace("\\\n", " ").splitlines() if line and line[0].isupper()]
    users = [step[1] for step in steps if step[0] == "USER"]
    assert users == ["runner"] and [step[0] for step in steps][-3:] == ["WORKDIR", "ENTRYPOINT", "CMD"]
    for step in steps:
        if step[0] == "COPY":
            assert all((DEPLOY.parents[1] / source).exists() for source in step[1:-1])
    packages = " ".join(next(step for step in steps if "apt-get" in step))
    assert all(name in packages for name in ("chromium", "libegl1", "libgles2", "libgl1-mesa-dri"))
    assert "NVIDIA_DRIVER_CAPABILITIES=all" in text


def test_pods_pull_until_nothing_is_left():
    """No completions, so that each pod is a runner; they have more time to end than --grace; nobody is root."""
    job = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["spec"]["parallelism"] > 1 and "completions" not in job["spec"]
    assert pod["restartPolicy"] == "OnFailure" and pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    (script,) = container["args"]
    grace_s = float(re.search(r"--grace (\d+)", script)[1])
    assert pod["terminationGracePeriodSeconds"] > grace_s + 10
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


@pytest.mark.slow
@pytest.mark.parametrize(("status", "pod_status"), [(0, 0), (1, 0), (4, 0), (3, 3), (8, 8), ("TERM", 143)])
def test_a_pods_end_tells_whether_it_is_begun_again(tmp_path, status, pod_status):
    """Not where jobs have failed for good; and SIGTERM is handed on, and its end waited for."""
    job = yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())
    (script,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    stand_in = tmp_path / "runner"
    body = "trap 'sleep 0.2; exit 143' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
    stand_in.write_text(f"#!/bin/sh\n{body if status == 'TERM' else f'exit {status}'}\n")
    stand_in.chmod(0o755)
    end = subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=60)
    assert end.returncode == pod_status


def test_the_machines_of_a_cloud_keep_what_they_have_done():
    """Not ones that may be taken away with it; the database is asked for."""
    task = yaml.safe_load((DEPLOY / "skypilot.yaml").read_text())
    assert set(task) == {"name", "num_nodes", "resources", "workdir", "envs", "file_mounts", "setup", "run"}
    assert task["resources"]["use_spot"] is False and task["envs"] == {"RUNNER_DB": ""}
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)


def test_the_service_is_one_that_systemd_takes(tmp_path):
    """Its own verifier says so; the signal goes to runner alone, which has the time that it needs."""
    text = (DEPLOY / "runner@.service").read_text()
    assert "KillMode=mixed" in text
    grace_s, limit_s = (
        int(re.search(rf"{name}[ =](\d+)", text)[1]) for name in ("--grace", "TimeoutStopSec")
    )
    assert limit_s >= grace_s + 20
    if shutil.which("systemd-analyze") is not None:
        unit = tmp_path / "runner@orbit.service"
        unit.write_text(text.replace("%h/.venv/bin/runner", sys.executable))
        end = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
        assert end.returncode == 0 and str(unit) not in end.stderr, end.stderr
