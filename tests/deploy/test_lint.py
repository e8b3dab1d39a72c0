"""The deployment files are what they say: each is judged by the tool that reads it, or by that tool's own schema."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from greenroom.server.config import PREFIX, ServerConfig, load, settings
from greenroom.server.wire.addresses import Limits

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
SCRIPTS = Path(sys.executable).parent
KNOWN = {setting.variable for setting in settings()} | {"GREENROOM_CONFIG"}


def run(*command: str | Path) -> str:
    """What it says. Fails the test where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def program(name: str) -> str:
    """A program of a Debian package that `make test` installs."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
    assert found is not None, f"{name} is not installed (make system)"
    return found


def yaml(path: Path) -> list[Any]:
    import yaml as library

    return [one for one in library.safe_load_all(path.read_text()) if one is not None]


def with_hosts(path: Path, folder: Path) -> Path:
    """The proxies' files name the nodes; what checks them wants names that resolve."""
    text = re.sub(r"\bnode([123]):7465", r"127.0.0.\1:7465", path.read_text())
    copy = folder / path.name
    copy.write_text(text)
    return copy


def test_dockerfile() -> None:
    # DL3008 and the like are about packages that are not installed here.
    run(SCRIPTS / "hadolint", "--failure-threshold", "info", DEPLOY / "Dockerfile")


def test_dockerfile_is_slim_not_root_and_copies_what_the_context_has() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["python:3.13", "python:3.13-slim"]
    assert re.findall(r"^USER (\d+)", text, re.M) == ["10001"]
    context = set(re.findall(r"^!(\S+)", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.M))
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in context, source


def test_compose_is_what_its_schema_says() -> None:
    import jsonschema

    (document,) = yaml(DEPLOY / "compose.yaml")
    schema = json.loads((Path(__file__).parent / "compose-subset.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert set(document["services"]) == {"node1", "node2", "node3", "redis", "proxy"}
    for name, service in document["services"].items():
        assert set(service["networks"]) <= set(document["networks"])
        for dependency in service.get("depends_on", ()):
            assert dependency in document["services"], name
    for number in (1, 2, 3):
        node = document["services"][f"node{number}"]
        assert node["environment"]["GREENROOM_NODE"] == f"node{number}"
        assert node["read_only"] is True
        assert set(node["environment"]) <= KNOWN
        assert (DEPLOY / node["build"]["context"]).resolve() == ROOT


def test_kubernetes() -> None:
    run(SCRIPTS / "kubernetes-validate", "--strict", DEPLOY / "kubernetes" / "greenroom.yaml")


def test_kubernetes_names_settings_that_exist_and_waits_for_the_drain() -> None:
    documents = {one["kind"]: one for one in yaml(DEPLOY / "kubernetes" / "greenroom.yaml")}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {one["name"] for one in container["env"]} <= KNOWN
    assert pod["terminationGracePeriodSeconds"] > ServerConfig().drain_limit + 5
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert documents["Service"]["spec"]["selector"] == documents["Deployment"]["spec"]["selector"]["matchLabels"]


def test_all_files_are_of_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (chart,) = yaml(DEPLOY / "helm" / "greenroom" / "Chart.yaml")
    assert (chart["version"], chart["appVersion"]) == (version, version)
    packages = [*(ROOT / "browser").glob("*/package.json"), ROOT / "browser" / "package.json"]
    assert {json.loads(path.read_text()).get("version", version) for path in packages} == {version}
    assert f"image: greenroom:{version}\n" in (DEPLOY / "kubernetes" / "greenroom.yaml").read_text()
    assert f"**Status:** {version}, " in (ROOT / "README.md").read_text()
    lock = json.loads((ROOT / "browser" / "package-lock.json").read_text())
    assert (lock["version"], lock["packages"][""]["version"]) == (version, version)
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"\n## {version} (" in changes


@pytest.mark.parametrize(
    "file", ["compose.yaml", "kubernetes/greenroom.yaml", "helm/greenroom/templates/deployment.yaml"]
)
def test_prometheus_can_be_given_a_token_of_its_own(file: str) -> None:
    assert "GREENROOM_METRICS_TOKEN" in (DEPLOY / file).read_text()
    assert "admin-token" not in (ROOT / "docs" / "how-to" / "watch-it-run.md").read_text()


def test_the_chart_sets_settings_that_exist() -> None:
    """What it renders is checked by `make check-deploy`, with helm."""
    text = (DEPLOY / "helm" / "greenroom" / "templates" / "deployment.yaml").read_text()
    assert set(re.findall(r"- name: (GREENROOM_[A-Z_]+)$", text, re.M)) <= KNOWN


def test_systemd(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "greenroom.service").read_text()
    assert "TimeoutStopSec=40" in text
    assert set(re.findall(rf"\b({PREFIX}[A-Z_]+)=", text)) <= KNOWN
    unit = tmp_path / "greenroom.service"
    # The program has to be there for the check; where it lies is up to who installs it.
    unit.write_text(text.replace("/opt/greenroom/bin/greenroom", "/bin/true"))
    said = run(program("systemd-analyze"), "verify", "--man=no", unit)
    assert "greenroom" not in said, said


def test_nginx(tmp_path: Path) -> None:
    conf = with_hosts(DEPLOY / "proxies" / "nginx.conf", tmp_path)
    run(program("nginx"), "-t", "-q", "-c", conf, "-g", f"pid {tmp_path}/pid; error_log stderr;")


def test_haproxy(tmp_path: Path) -> None:
    conf = with_hosts(DEPLOY / "proxies" / "haproxy.cfg", tmp_path)
    said = run(program("haproxy"), "-c", "-f", conf)
    assert "WARNING" not in said, said


def test_caddy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    conf = with_hosts(DEPLOY / "proxies" / "Caddyfile", tmp_path)
    run(program("caddy"), "validate", "--adapter", "caddyfile", "--config", conf)
    run(program("caddy"), "fmt", "--diff", DEPLOY / "proxies" / "Caddyfile")


def compose_settings() -> ServerConfig:
    """What compose sets, loaded as the service would."""
    (document,) = yaml(DEPLOY / "compose.yaml")
    given = dict(document["services"]["node1"]["environment"])
    given |= {"GREENROOM_MASTER_KEY": "0" * 64, "GREENROOM_ADMIN_TOKEN": "a" * 48}
    given |= {"GREENROOM_PUBLIC_URL": "http://localhost:8080", "GREENROOM_METRICS_TOKEN": ""}
    return load(None, given).config


def test_compose_publishes_to_this_machine_alone_or_with_tls() -> None:
    (document,) = yaml(DEPLOY / "compose.yaml")
    ports = [port for service in document["services"].values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:") and not port.endswith(":443")] == []


def test_compose_trusts_its_proxy_alone_so_that_clients_choose_no_address() -> None:
    (document,) = yaml(DEPLOY / "compose.yaml")
    proxy = document["services"]["proxy"]["networks"]["inside"]["ipv4_address"]
    (network,) = document["networks"]["inside"]["ipam"]["config"]
    addresses = Limits(trusted_proxies=compose_settings().trusted_proxies)
    assert addresses.resolve(proxy, "198.51.100.7") == "198.51.100.7"
    gateway = network["gateway"]
    assert addresses.resolve(gateway, "198.51.100.7") == gateway
    assert addresses.resolve(proxy, f"198.51.100.7, {gateway}") == gateway
    assert ip_address(proxy) not in ip_network(network["ip_range"]), "another container could be given it"


def kubernetes_settings() -> dict[str, str]:
    """What the ConfigMap sets, by variable."""
    documents = {one["kind"]: one for one in yaml(DEPLOY / "kubernetes" / "greenroom.yaml")}
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    found = {}
    for one in container["env"]:
        reference = one.get("valueFrom", {}).get("configMapKeyRef")
        if reference is not None:
            found[one["name"]] = documents["ConfigMap"]["data"][reference["key"]]
    return found


def test_kubernetes_trusts_no_proxy_by_default() -> None:
    assert kubernetes_settings()["GREENROOM_TRUSTED_PROXIES"] == ""
    assert load(None, kubernetes_settings()).config.trusted_proxies == ()


def test_kubernetes_puts_no_variables_of_other_services_into_the_pod() -> None:
    """A Service called greenroom would set GREENROOM_PORT to tcp://…"""
    documents = {one["kind"]: one for one in yaml(DEPLOY / "kubernetes" / "greenroom.yaml")}
    assert documents["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_health_check_follows_the_settings_and_no_proxy() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert 'CMD ["greenroom", "status", "--local"]' in text
