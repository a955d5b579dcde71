"""deploy/ is valid, agrees with the service and with the lock, and gives no container more than it needs.

No engine and no cluster: the files are read. `tests/e2e/test_postgres.py` starts MLflow as compose.yaml says.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.container.generate import BENTO_UID_GID

from pipeline.packaging.container import RUN_OPTIONS
from serving.corrections.settings import DEFAULT_LIMITS, VARIABLE
from serving.http.limits_middleware import PROBES
from serving.workers import WORKERS

DEPLOY: Final = Path("deploy")
CORRECTIONS: Final = DEPLOY / "kubernetes/corrections"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
ENV_EXAMPLE: Final = (DEPLOY / ".env.example").read_text()
KUSTOMIZATION: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
LOGIN: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "kubernetes/login/kustomization.yaml").read_text())
MANIFESTS: Final[dict[str, dict[str, Any]]] = {
    f"{manifest['kind']}/{manifest['metadata']['name']}": manifest
    for folder, kustomization in ((".", KUSTOMIZATION), ("login", LOGIN))
    for name in kustomization["resources"]
    for manifest in yaml.safe_load_all((DEPLOY / "kubernetes" / folder / name).read_text())
}
PODS: Final = {name: manifest["spec"]["template"] for name, manifest in MANIFESTS.items() if "Deployment" in name}
CONTAINERS: Final = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}
SERVICE, MLFLOW = CONTAINERS["Deployment/service"], CONTAINERS["Deployment/mlflow"]
PORT: Final[int] = BentoMLContainer.http.port.get()
OLDEST: Final = "1.30"  # the first Kubernetes that sleeps before it stops a container
SECRET: Final = re.compile("PASSWORD|SECRET|KEY|TOKEN|BACKEND_STORE_URI")


def environment(container: dict[str, Any]) -> dict[str, str]:
    """The variables of a pod's container that have their value in the manifest."""
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def options(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if word.startswith("--"))


def images() -> Iterator[str]:
    yield from (service["image"] for service in SERVICES.values())
    yield from (container["image"] for container in CONTAINERS.values())
    yield from (f"{entry['newName']}:{entry['newTag']}" for entry in KUSTOMIZATION["images"])


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_what_kubernetes_expects(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_an_unknown_key_would_be_noticed() -> None:
    misspelt = MANIFESTS["Namespace/digits"] | {"specs": {}}

    with pytest.raises(kubernetes_validate.ValidationError, match="specs"):
        kubernetes_validate.validate(misspelt, OLDEST, strict=True)


def test_every_container_of_a_pod_is_looked_at_here() -> None:
    assert {len(pod["spec"]["containers"]) for pod in PODS.values()} == {1}
    assert not any("initContainers" in pod["spec"] for pod in PODS.values())


@pytest.mark.parametrize(("folder", "kustomization"), [(".", KUSTOMIZATION), ("login", LOGIN)], ids=["all", "login"])
def test_kustomize_takes_every_manifest(folder: str, kustomization: dict[str, Any]) -> None:
    here = {path.name for path in (DEPLOY / "kubernetes" / folder).glob("*.yaml")}

    assert {*kustomization["resources"], "kustomization.yaml"} == here
    assert kustomization["namespace"] == MANIFESTS["Namespace/digits"]["metadata"]["name"]


def test_compose_yaml_is_what_compose_expects() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("image", sorted(set(images())))
def test_an_image_has_a_tag_that_does_not_move(image: str) -> None:
    repository, _, tag = image.rpartition(":")

    assert image.startswith("${SERVICE_IMAGE:?") or (repository and "/" not in tag)
    assert "latest" not in image


def test_the_image_of_the_service_is_named_by_whoever_deploys_it() -> None:
    assert SERVICES["service"]["image"].startswith("${SERVICE_IMAGE:?")
    assert [SERVICE["image"].split(":")[0]] == [entry["name"] for entry in KUSTOMIZATION["images"]]


@pytest.mark.parametrize("image", [SERVICES["mlflow"]["image"], SERVICES["bucket"]["image"], MLFLOW["image"]])
def test_the_server_has_the_version_of_mlflow_that_is_locked(image: str) -> None:
    locked = re.search(r"^mlflow==(\S+)", Path("requirements.lock").read_text(), re.MULTILINE)

    assert locked
    assert image == f"ghcr.io/mlflow/mlflow:v{locked[1]}-full"


def test_the_service_is_asked_at_bentomls_port() -> None:
    ports = MANIFESTS["Service/service"]["spec"]["ports"]

    assert SERVICES["service"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert SERVICE["ports"] == [{"name": "http", "containerPort": PORT}]
    assert ports == [{"name": "http", "port": PORT, "targetPort": "http"}]


def test_the_service_is_asked_for_its_health_where_it_answers_however_busy_it_is() -> None:
    kept = {name: SERVICE[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    scraped = PODS["Deployment/service"]["metadata"]["annotations"]

    assert {name: probe["path"] for name, probe in kept.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {probe["port"] for probe in kept.values()} == {"http"}
    assert f'"http://127.0.0.1:{PORT}/readyz"' in SERVICES["service"]["healthcheck"]["test"][-1]
    assert scraped["prometheus.io/path"] == "/metrics"
    assert scraped["prometheus.io/port"] == str(PORT)
    assert {"/readyz", "/livez", "/metrics"} <= set(PROBES)


def test_the_service_ends_before_it_is_killed() -> None:
    flag, seconds = SERVICE["args"]
    pod = PODS["Deployment/service"]["spec"]

    assert flag == "--timeout-graceful-shutdown"
    assert SERVICES["service"]["command"] == SERVICE["args"]
    assert f"{flag} {seconds}" in Path("Makefile").read_text()
    assert int(seconds) < int(SERVICES["service"]["stop_grace_period"].removesuffix("s"))
    pause = SERVICE["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause + int(seconds) < pod["terminationGracePeriodSeconds"]


def test_bentoml_writes_where_it_may() -> None:
    homes = {SERVICES["service"]["environment"]["BENTOML_HOME"], environment(SERVICE)["BENTOML_HOME"]}
    (home,) = homes

    assert Path(home).is_relative_to("/tmp")
    assert SERVICE["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert SERVICES["service"]["tmpfs"][0].startswith("/tmp:")


def test_the_service_gets_the_same_settings_in_compose_and_in_kubernetes() -> None:
    compose = dict(SERVICES["service"]["environment"])

    assert compose.pop(VARIABLE) == "${CORRECTIONS:-}"  # off, as without the component in Kubernetes
    assert compose["PREDICTION_LOG"] == "${PREDICTION_LOG:-}"
    assert environment(SERVICE) == compose | {"PREDICTION_LOG": ""}


def test_corrections_are_stored_on_a_volume_that_the_user_of_the_service_may_write() -> None:
    (patch,) = yaml.safe_load((CORRECTIONS / "kustomization.yaml").read_text())["patches"]
    service = Path("serving/service.py").read_text(encoding="utf-8")

    assert [entry["value"] for entry in yaml.safe_load(patch["patch"])] == [
        {"name": VARIABLE, "value": "/corrections"},
        {"name": "corrections", "mountPath": "/corrections"},
        {"name": "corrections", "persistentVolumeClaim": {"claimName": "corrections"}},
    ]
    assert SERVICES["service"]["volumes"] == ["corrections:/corrections"]
    assert "corrections" in COMPOSE["volumes"]
    assert f"--owner={BENTO_UID_GID} --group={BENTO_UID_GID} --mode=700 /corrections" in service


def test_the_volume_of_corrections_is_what_kubernetes_expects_and_larger_than_what_is_stored() -> None:
    claim = yaml.safe_load((CORRECTIONS / "volume.yaml").read_text())

    kubernetes_validate.validate(claim, OLDEST, strict=True)
    assert claim["metadata"]["name"] == "corrections"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert DEFAULT_LIMITS.bytes < 2**30


def test_the_printed_command_gives_the_container_what_compose_gives_it() -> None:
    words = shlex.split(RUN_OPTIONS)
    given = dict(pairwise(words))
    service = SERVICES["service"]

    assert given["--tmpfs"] == service["tmpfs"][0]
    assert given["--memory"] == service["mem_limit"]
    assert given["--memory-swap"] == service["memswap_limit"]
    assert given["--pids-limit"] == str(service["pids_limit"])
    assert given["-e"] == f"BENTOML_HOME={service['environment']['BENTOML_HOME']}"
    assert service["read_only"] is ("--read-only" in words) is True


def test_the_image_is_built_with_the_locked_uv() -> None:
    def locked(path: str) -> str:
        found = re.search(r"^uv==\S+( \\\n    --hash=sha256:[0-9a-f]+)+$", Path(path).read_text(), re.MULTILINE)
        assert found
        return found[0]

    assert locked("serving/uv.lock") == locked("requirements.lock")


def test_the_service_and_mlflow_report_to_nobody() -> None:
    assert SERVICES["service"]["environment"]["ORT_DISABLE_TELEMETRY"] == "1"
    assert SERVICES["mlflow"]["environment"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment(MLFLOW)["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_mlflow_is_started_alike_but_for_the_names_of_its_hosts() -> None:
    compose, kubernetes = options(SERVICES["mlflow"]["command"]), options(MLFLOW["args"])
    port = MANIFESTS["Service/mlflow"]["spec"]["ports"][0]["port"]

    assert f"mlflow:{port}" in kubernetes.pop("--allowed-hosts").split(",")
    assert "mlflow:*" in compose.pop("--allowed-hosts")
    assert compose == kubernetes
    assert compose["--port"] == str(port) == str(MLFLOW["ports"][0]["containerPort"])
    assert f":{port}/health" in SERVICES["mlflow"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"])
def test_mlflow_runs_no_code_that_it_is_sent(name: str) -> None:
    assert SERVICES["mlflow"]["environment"][name] == "false"
    assert environment(MLFLOW)[name] == "false"


def test_mlflow_gets_the_same_settings_in_compose_and_in_kubernetes() -> None:
    assert {entry["name"] for entry in MLFLOW["env"]} == set(SERVICES["mlflow"]["environment"])


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_what_compose_starts_has_limits(service: dict[str, Any]) -> None:
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["cpus"] > 0
    assert service["pids_limit"] > 0


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_what_kubernetes_starts_has_limits(container: dict[str, Any]) -> None:
    for kind in ("requests", "limits"):
        assert set(container["resources"][kind]) == {"cpu", "memory"}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_what_compose_starts_is_not_root_and_writes_only_where_it_must(service: dict[str, Any]) -> None:
    user, group = service["user"].split(":")

    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"} & set(service)
    assert not any(volume.startswith(("/", ".")) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_kubernetes_starts_is_not_root_and_writes_only_where_it_must(name: str) -> None:
    pod, container = PODS[name]["spec"], CONTAINERS[name]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert all(mount["name"] in written or mount["readOnly"] for mount in container["volumeMounts"])
    assert all({"emptyDir", "configMap", "secret"} & set(volume) for volume in pod["volumes"])


@pytest.mark.parametrize("name", PODS)
def test_a_pod_gets_no_variables_named_after_services(name: str) -> None:
    """Kubernetes would set MLFLOW_PORT to `tcp://…`, which MLflow reads as its port."""
    assert PODS[name]["spec"]["enableServiceLinks"] is False


def test_the_service_runs_as_the_user_that_owns_its_files() -> None:
    assert SERVICES["service"]["user"] == f"{BENTO_UID_GID}:{BENTO_UID_GID}"
    assert PODS["Deployment/service"]["spec"]["securityContext"]["runAsUser"] == BENTO_UID_GID


def test_the_service_reaches_nobody() -> None:
    policy = MANIFESTS["NetworkPolicy/service"]["spec"]
    front, metrics = SERVICES["service"]["networks"]

    assert "Egress" in policy["policyTypes"]
    assert policy["egress"] == []
    assert [name for name, service in SERVICES.items() if front in service["networks"]] == ["service"]
    assert COMPOSE["networks"][front]["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert [name for name, service in SERVICES.items() if metrics in service["networks"]] == ["service", "prometheus"]
    assert COMPOSE["networks"][metrics] == {"internal": True}


def test_only_mlflow_reaches_the_database_and_the_store() -> None:
    together = {name for name, service in SERVICES.items() if "store" in service["networks"]}

    assert COMPOSE["networks"]["store"] == {"internal": True}
    assert together == {"mlflow", "bucket", "postgres", "s3"}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_compose_publishes_ports_on_this_machine_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"bucket"}))
def test_compose_watches_the_health_of_what_keeps_running(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_nothing_is_started_before_what_it_needs() -> None:
    waits = {name: service["depends_on"] for name, service in SERVICES.items() if "depends_on" in service}

    assert waits == {
        "mlflow": {
            "postgres": {"condition": "service_healthy"},
            "bucket": {"condition": "service_completed_successfully"},
        },
        "bucket": {"s3": {"condition": "service_healthy"}},
        "grafana": {"prometheus": {"condition": "service_healthy"}},
    }
    assert SERVICES["bucket"]["restart"] == "no"


@pytest.mark.parametrize("name", ["Service/service", "PodDisruptionBudget/service", "NetworkPolicy/service"])
def test_what_is_said_of_the_service_is_said_of_its_pods(name: str) -> None:
    spec = MANIFESTS[name]["spec"]
    selector = spec.get("podSelector") or spec["selector"]

    assert selector.get("matchLabels", selector) == PODS["Deployment/service"]["metadata"]["labels"]


@pytest.mark.parametrize("name", ["Service/mlflow", "NetworkPolicy/mlflow"])
def test_what_is_said_of_mlflow_is_said_of_its_pods(name: str) -> None:
    spec = MANIFESTS[name]["spec"]
    selector = spec.get("podSelector") or spec["selector"]

    assert selector.get("matchLabels", selector) == PODS["Deployment/mlflow"]["metadata"]["labels"]


def test_the_autoscaler_keeps_two_pods_at_least_and_nobody_contradicts_it() -> None:
    scaler = MANIFESTS["HorizontalPodAutoscaler/service"]["spec"]

    assert f"{scaler['scaleTargetRef']['kind']}/{scaler['scaleTargetRef']['name']}" in PODS
    assert scaler["minReplicas"] == 2
    assert "replicas" not in MANIFESTS["Deployment/service"]["spec"]


def test_compose_takes_every_secret_from_the_environment_and_refuses_an_empty_one() -> None:
    secrets = {
        (name, variable): value
        for name, service in SERVICES.items()
        for variable, value in service.get("environment", {}).items()
        if SECRET.search(variable)
    }

    assert secrets
    for variable, value in secrets.items():
        assert re.search(r"\$\{\w+:\?[^}]+\}", value), variable


def test_kubernetes_takes_every_secret_from_a_secret_that_is_not_here() -> None:
    entries = [entry for container in CONTAINERS.values() for entry in container.get("env", [])]
    kept = [entry for entry in entries if SECRET.search(entry["name"])]

    assert {entry["name"] for entry in kept} >= {"MLFLOW_BACKEND_STORE_URI", "AWS_SECRET_ACCESS_KEY"}
    assert all("secretKeyRef" in entry["valueFrom"] for entry in kept)
    assert not any(name.startswith("Secret/") for name in MANIFESTS)


def test_the_example_names_every_variable_and_gives_no_secret_a_value() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    given = dict(line.split("=", 1) for line in ENV_EXAMPLE.splitlines() if re.match(r"\w+=", line))

    assert given == dict.fromkeys(wanted, "")


def test_git_ignores_the_secrets() -> None:
    done = subprocess.run(["git", "check-ignore", "--quiet", DEPLOY / ".env"], check=False)

    assert done.returncode == 0


def test_the_number_of_workers_is_a_setting_and_no_greater_than_the_cores_that_they_get() -> None:
    workers = int(environment(SERVICE)[WORKERS])

    assert workers <= SERVICES["service"]["cpus"]
    assert workers <= int(SERVICE["resources"]["limits"]["cpu"])


def test_the_log_in_reaches_the_service_and_mlflow_at_their_ports() -> None:
    text = (DEPLOY / "kubernetes/login/nginx.conf").read_text()
    upstreams = {
        f"http://{name}:{MANIFESTS[f'Service/{name}']['spec']['ports'][0]['port']}" for name in ("service", "mlflow")
    }
    labels = PODS["Deployment/login"]["metadata"]["labels"]
    allowed = MANIFESTS["NetworkPolicy/mlflow"]["spec"]["ingress"][0]["from"][1]["podSelector"]["matchLabels"]
    egress = MANIFESTS["NetworkPolicy/login"]["spec"]["egress"][1]

    assert set(re.findall(r"proxy_pass (\S+);", text)) == upstreams
    assert allowed.items() <= labels.items()
    assert {f":{port['port']}" for port in egress["ports"]} == {
        upstream[upstream.rindex(":") :] for upstream in upstreams
    }


def test_the_log_in_knows_the_host_names_of_the_ingress_and_mlflow_accepts_its_own() -> None:
    text = (DEPLOY / "kubernetes/login/nginx.conf").read_text()
    ingress = MANIFESTS["Ingress/login"]["spec"]
    hosts = [rule["host"] for rule in ingress["rules"]]

    assert re.findall(r"server_name (\S+);", text) == hosts == ingress["tls"][0]["hosts"]
    assert hosts[1] in options(MLFLOW["args"])["--allowed-hosts"].split(",")
    assert environment(MLFLOW)["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == f"https://{hosts[1]}"


def test_every_path_of_the_log_in_needs_the_password_but_its_own_health() -> None:
    text = (DEPLOY / "kubernetes/login/nginx.conf").read_text()
    unknown, *servers = text.split("\nserver {")[1:]
    passwords = "auth_basic_user_file /etc/nginx/login/htpasswd;"
    mounts = {mount["mountPath"] for mount in CONTAINERS["Deployment/login"]["volumeMounts"]}

    assert "proxy_pass" not in unknown
    assert all(passwords in server for server in servers)
    assert {"/etc/nginx/login", "/etc/nginx/conf.d", "/tmp"} == mounts


@pytest.mark.parametrize("command", ["namespace.yaml", "--kustomize .", "--kustomize login"])
def test_the_readme_applies_what_is_here_in_an_order_that_works(command: str) -> None:
    readme = (DEPLOY / "README.md").read_text()
    secret, applied = (
        readme.index("create secret generic mlflow"),
        readme.index(f"kubectl apply {'' if '--' in command else '--filename '}{command}"),
    )

    assert (applied < secret) == (command == "namespace.yaml")


def test_the_readme_creates_what_the_pods_mount_and_read() -> None:
    readme = (DEPLOY / "README.md").read_text()
    for name, pod in PODS.items():
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert f"create secret generic {volume['secret']['secretName']}" in readme, name
            if "configMap" in volume and volume["configMap"]["name"] != "login":
                assert f"create configmap {volume['configMap']['name']}" in readme, name
    keys = {e["valueFrom"]["secretKeyRef"]["key"] for e in MLFLOW["env"] if "valueFrom" in e}
    assert all(f"--from-literal={key}=" in readme for key in keys)
    assert f"secret docker-registry {PODS['Deployment/service']['spec']['imagePullSecrets'][0]['name']}" in readme
