"""Compose and Kubernetes, as text: they start what there is, keep what must be kept, and ask what answers"""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import typer
import yaml

from ecg_audio_nb.cli import app as ecg
from ecg_audio_nb.service.app import server_settings

UNITS = Path(str(files("ecg_audio_nb") / "assets/units"))
DOCKERFILE = Path(__file__).resolve().parents[2] / "Dockerfile"
COMPOSE = yaml.safe_load((UNITS / "compose.yaml").read_text())["services"]["ecg"]
OBJECTS = {o["kind"]: o for o in yaml.safe_load_all((UNITS / "kubernetes.yaml").read_text())}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.mark.parametrize("words", [COMPOSE["command"], CONTAINER["args"]], ids=["compose", "kubernetes"])
def test_the_service_is_started_with_keys_on_the_port_that_is_published(words):
    name, *rest = words
    command = typer.main.get_command(ecg).commands[name]
    params = command.make_context(name, rest).params
    assert (name, params["host"], params["port"], params["without_keys"]) == ("serve", "0.0.0.0", 8080, False)


def test_what_must_be_kept_lies_in_the_image_s_volume():
    text = DOCKERFILE.read_text()
    places = dict(re.findall(r"\b([A-Z_]+)=(/\S+)", " ".join(re.findall(r"^ENV (.*)$", text, re.M))))
    assert re.search(r"^VOLUME /data$", text, re.M) and places.pop("ECG_DATA_DIR") == "/data"
    assert set(places) == {"XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME"}, "weights are fetched and made smaller once"
    assert all(place.startswith("/data/") for place in places.values())
    assert COMPOSE["volumes"] == ["ecg:/data"]
    [data] = [mount for mount in CONTAINER["volumeMounts"] if mount["mountPath"] == "/data"]
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    claim = volumes[data["name"]]["persistentVolumeClaim"]["claimName"]
    assert claim == OBJECTS["PersistentVolumeClaim"]["metadata"]["name"]
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == set(volumes)


def test_it_runs_as_the_user_of_the_image_and_writes_nowhere_else():
    user = int(re.search(r"^USER (\d+)$", DOCKERFILE.read_text(), re.M)[1])
    context = POD["securityContext"]
    assert (context["runAsUser"], context["fsGroup"], context["runAsNonRoot"]) == (user, user, True)
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] and COMPOSE["read_only"]
    assert CONTAINER["securityContext"]["capabilities"]["drop"] == COMPOSE["cap_drop"] == ["ALL"]


def test_there_is_time_to_stop():
    stop = server_settings().shutdown_timeout + 5 + 5  # the stage in hand, connections, callbacks
    assert POD["terminationGracePeriodSeconds"] > stop and int(COMPOSE["stop_grace_period"].rstrip("s")) > stop


def test_one_pod_has_the_queue():
    spec = OBJECTS["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    labels = spec["template"]["metadata"]["labels"]
    assert labels.items() >= spec["selector"]["matchLabels"].items()
    assert labels.items() >= OBJECTS["Service"]["spec"]["selector"].items()


def test_probes_ask_what_answers():
    from ecg_audio_nb.service.routes import router

    paths = {route.path for route in router.routes}
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    for name, path in (("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")):
        probe = CONTAINER[name]["httpGet"]
        assert probe["path"] == path and path in paths and ports[probe["port"]] == 8080
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] in ports


def test_no_secret_stands_in_the_files():
    assert OBJECTS["Secret"]["stringData"] == {"ECG_API_KEYS": "change-me"}
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": OBJECTS["Secret"]["metadata"]["name"]}}]
    assert COMPOSE["env_file"] == "serve.env" and "environment" not in COMPOSE
