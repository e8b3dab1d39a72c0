"""Checks the Helm chart and the GitHub workflows with the tools that read them.

usage: python scripts/check_deploy.py

helm and actionlint are those on PATH, else built by Go (scripts/tool). What the chart renders must be valid for
Kubernetes, and with its own values the same as deploy/kubernetes. Exits 1 if something is wrong, 3 without the tools.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = "deploy/helm/greenroom"
KUBERNETES = ("--kube-version", "1.31.0")
URL = "publicUrl=https://sessions.example.com"
EVERYTHING = (
    "trustedProxies={192.0.2.0/28,2001:db8::7}", "settings.grace=60s", "ingress.enabled=true",
    "ingress.host=sessions.example.com", "ingress.tlsSecret=tls", "ingress.className=nginx", "podLabels.team=media",
    "imagePullSecrets[0].name=registry", "nodeSelector.kind=real-time", "service.annotations.a=b",
)  # fmt: skip
REFUSED = (
    "publicUrl=sessions.example.com", "trustedProxies={everybody}", "replica=3", "ingress.enabled=true",
    "settings.Grace=1",
)  # fmt: skip
"""Values that the chart's schema must not take; each alone."""


class WrongError(Exception):
    """What a tool found."""


def run(*command: str | Path) -> str:
    """What `command` prints. Raises WrongError if it fails, SystemExit(3) if a tool is not to be had."""
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ran.returncode == 3 and command[0] == ROOT / "scripts" / "tool":
        print(ran.stderr, end="", file=sys.stderr)
        sys.exit(3)
    if ran.returncode != 0:
        raise WrongError(f"{' '.join(map(str, command))}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def tool(*arguments: str | Path) -> str:
    return run(ROOT / "scripts" / "tool", *arguments)


def rendered(*values: str) -> str:
    """The chart as YAML, with these values besides the URL."""
    given = (word for one in (URL, *values) for word in ("--set", one))
    return tool("helm", "template", *KUBERNETES, "greenroom", CHART, *given)


def validate(text: str) -> None:
    """Against the schemas of Kubernetes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rendered.yaml"
        path.write_text(text)
        run(Path(sys.executable).parent / "kubernetes-validate", "--strict", path)


def documents(text: str) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(text) if one is not None}


def pod(found: dict[str, Any]) -> dict[str, Any]:
    """What the pods of a Deployment are, without what each file says in its own way: labels, and where settings are."""
    spec = dict(found["Deployment"]["spec"]["template"]["spec"])
    del spec["topologySpreadConstraints"]
    (container,) = spec["containers"]
    names = {one["name"] for one in container["env"]} - {"GREENROOM_DRAIN_LIMIT"}
    return spec | {"containers": [container | {"env": names, "imagePullPolicy": None}]}


def check_chart() -> None:
    tool("helm", "lint", "--strict", *KUBERNETES, "--set", URL, CHART)
    for values in ((), EVERYTHING):
        validate(rendered(*values))
    manifest = documents((ROOT / "deploy" / "kubernetes" / "greenroom.yaml").read_text())
    if pod(documents(rendered())) != pod(manifest):
        raise WrongError(f"{CHART} and deploy/kubernetes describe different pods")
    for value in REFUSED:
        try:
            rendered(value)
        except WrongError:
            continue
        raise WrongError(f"{CHART} takes {value}")


def check_workflows() -> None:
    tool("actionlint", *sorted((ROOT / ".github" / "workflows").glob("*.yml")))


def main() -> int:
    failed = False
    for check in (check_chart, check_workflows):
        try:
            check()
        except WrongError as error:
            print(f"{check.__name__.removeprefix('check_')}: {error}")
            failed = True
        else:
            print(f"{check.__name__.removeprefix('check_')}: well", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
