"""The Dockerfile, docker-compose.yml and k8s/ agree with the program and with each other."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from app.api import catalogues, content, health, route, skills
from app.settings import AppSettings
from cli.main import program
from core.settings import PREFIX
from indexer.settings import IndexerSettings

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
K8S = ROOT / "k8s"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((K8S / "kustomization.yaml").read_text())
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *sorted(K8S.glob("*.yaml"))]
OURS = ("serve", "index")  # the services of docker-compose.yml that run Loadstar


def manifests() -> list[dict[str, Any]]:
    """What kustomize applies."""
    return [
        manifest
        for name in KUSTOMIZATION["resources"]
        for manifest in yaml.safe_load_all((K8S / name).read_text())
    ]


def manifest(kind: str) -> dict[str, Any]:
    """The only manifest of its kind."""
    (found,) = (each for each in manifests() if each["kind"] == kind)
    return found


def pods() -> list[dict[str, Any]]:
    """The pod templates: of `serve`, then of `index`."""
    job = manifest("CronJob")["spec"]["jobTemplate"]
    return [manifest("Deployment")["spec"]["template"], job["spec"]["template"]]


def containers() -> list[dict[str, Any]]:
    """Every container of every pod."""
    return [container for pod in pods() for container in pod["spec"]["containers"]]


def dockerfile_values(instruction: str) -> list[str]:
    """What follows each `instruction` of the Dockerfile; continued lines are joined."""
    return re.findall(rf"^{instruction} (.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def environment() -> dict[str, str]:
    """The image's environment variables."""
    return dict(pair.split("=", 1) for value in dockerfile_values("ENV") for pair in value.split())


def command_lines() -> Iterator[list[str]]:
    """The arguments of `loadstar` wherever a container starts it."""
    yield json.loads(dockerfile_values("CMD")[-1])
    yield from (COMPOSE["services"][name]["command"] for name in OURS)
    yield from (container["args"] for container in containers())


def probes() -> list[dict[str, Any]]:
    """The HTTP probes of the serving container."""
    serve = manifest("Deployment")["spec"]["template"]["spec"]["containers"][0]
    return [serve[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]


def healthcheck_url() -> re.Match[str]:
    """The URL that the image's health check asks, with groups `port` and `path`."""
    found = re.search(r"http://127\.0\.0\.1:(?P<port>\d+)(?P<path>/\w+)", DOCKERFILE)
    assert found is not None
    return found


def test_kustomize_applies_every_file_but_the_example() -> None:
    files = {file.name for file in K8S.glob("*.yaml")}
    assert {*KUSTOMIZATION["resources"]} == files - {"kustomization.yaml", "secret.example.yaml"}


def test_manifests_leave_the_namespace_to_the_operator() -> None:
    assert all(each["metadata"]["name"].startswith("loadstar") for each in manifests())
    assert not any("namespace" in each["metadata"] for each in manifests())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_variable_is_a_setting(file: Path) -> None:
    known = {*AppSettings.model_fields, *IndexerSettings.model_fields}
    named = {name.lower() for name in re.findall(rf"{PREFIX}([A-Z0-9_]+)", file.read_text())}
    assert named <= known


def test_every_command_line_is_one_that_the_program_takes() -> None:
    commands = typer.main.get_group(program).commands
    for name, *arguments in command_lines():
        options = {option for each in commands[name].params for option in each.opts}
        assert {word for word in arguments if word.startswith("--")} <= options


def test_probes_ask_for_paths_that_the_server_has() -> None:
    resources = (catalogues, content, health, route, skills)
    served = {getattr(each, "path", "") for part in resources for each in part.router.routes}
    assert {probe["path"] for probe in probes()} | {healthcheck_url()["path"]} <= served


def test_every_file_names_the_port_that_the_image_listens_on() -> None:
    port = int(environment()["LOADSTAR_PORT"])
    serve = manifest("Deployment")["spec"]["template"]["spec"]["containers"][0]
    service, ingress = manifest("Service")["spec"], manifest("NetworkPolicy")["spec"]["ingress"]
    assert port == AppSettings.model_fields["port"].default
    assert dockerfile_values("EXPOSE") == [healthcheck_url()["port"]] == [str(port)]
    assert COMPOSE["services"]["serve"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert serve["ports"] == [{"name": "http", "containerPort": port}]
    assert [(each["port"], each["targetPort"]) for each in service["ports"]] == [(port, "http")]
    assert [each["port"] for rule in ingress for each in rule["ports"]] == [port]
    assert {probe["port"] for probe in probes()} == {"http"}


def test_the_image_listens_on_every_address() -> None:
    assert environment()["LOADSTAR_HOST"] == "0.0.0.0"


def test_the_data_folder_is_a_volume_everywhere() -> None:
    folder = environment()["LOADSTAR_DATA_DIR"]
    assert dockerfile_values("VOLUME") == [folder]
    assert all(f"data:{folder}" in COMPOSE["services"][name]["volumes"] for name in OURS)
    for pod in pods():
        (container,) = pod["spec"]["containers"]
        (mount,) = (each for each in container["volumeMounts"] if each["mountPath"] == folder)
        (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == mount["name"])
        assert volume["persistentVolumeClaim"]["claimName"] == "loadstar-data"


def test_every_container_runs_as_a_user_that_is_not_root() -> None:
    (user,) = dockerfile_values("USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 0
    assert {COMPOSE["services"][name]["user"] for name in OURS} == {user}
    assert all(service["user"] not in ("", "0", "root") for service in COMPOSE["services"].values())
    for pod in pods():
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (uid, gid, gid)


def test_pods_satisfy_the_restricted_pod_security_standard() -> None:
    for pod in pods():
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["spec"]["automountServiceAccountToken"]
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_no_service_variable_is_taken_for_a_setting() -> None:
    assert all(pod["spec"]["enableServiceLinks"] is False for pod in pods())


def test_threads_follow_the_cpu_limit() -> None:
    for container in containers():
        variables = {each["name"]: each["valueFrom"] for each in container["env"]}
        assert variables["LOADSTAR_THREADS"] == {"resourceFieldRef": {"resource": "limits.cpu"}}
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_the_database_url_comes_from_a_secret_that_is_not_in_the_project() -> None:
    example = yaml.safe_load((K8S / "secret.example.yaml").read_text())
    reference = {"name": example["metadata"]["name"], "key": "url"}
    for container in containers():
        variables = {each["name"]: each["valueFrom"] for each in container["env"]}
        assert variables["LOADSTAR_DATABASE_URL"] == {"secretKeyRef": reference}
    assert "CHANGE-ME" in example["stringData"]["url"]
    assert "Secret" not in {each["kind"] for each in manifests()}


def test_selectors_find_the_pods_that_they_are_for() -> None:
    serve, index = (pod["metadata"]["labels"].items() for pod in pods())
    deployment, budget = manifest("Deployment"), manifest("PodDisruptionBudget")
    for selector in (
        manifest("Service")["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= serve
        assert not selector.items() <= index
    policy = manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    assert policy <= serve
    assert policy <= index
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]


def test_a_rebuild_never_runs_twice_at_once() -> None:
    assert manifest("CronJob")["spec"]["concurrencyPolicy"] == "Forbid"


def test_images_carry_the_version_of_the_project() -> None:
    version = PROJECT["project"]["version"]
    assert {COMPOSE["services"][name]["image"] for name in OURS} == {f"loadstar:{version}"}
    assert [image["newTag"] for image in KUSTOMIZATION["images"]] == [version]
    assert {container["image"] for container in containers()} == {"loadstar"}


def test_compose_installs_an_extra_that_exists() -> None:
    extras = {COMPOSE["services"][name]["build"]["args"]["EXTRAS"] for name in OURS}
    assert extras <= PROJECT["project"]["optional-dependencies"].keys()


def test_serve_waits_for_a_healthy_database() -> None:
    assert "healthcheck" in COMPOSE["services"]["postgres"]
    for name in OURS:
        waits = COMPOSE["services"][name]["depends_on"]
        assert waits == {"postgres": {"condition": "service_healthy"}}


def test_the_image_is_built_from_everything_that_the_wheel_packs() -> None:
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", PROJECT["project"]["readme"]}
    needed |= {*wheel["packages"], *wheel["force-include"]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert needed <= {line.removeprefix("!") for line in lines if line.startswith("!")}
