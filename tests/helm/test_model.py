"""helm/model: what it makes of a model's values, and which values it does not take."""

import shutil
from dataclasses import replace

import pytest
import yaml

from pipeline.serving.server import GRACE_SECONDS
from tests.helm.chart import differences, helm, nested, selects
from tests.helm.kubernetes_rules import LABEL, NAME, unknown_fields, violations

TRACKS = ("stable", "baseline", "canary")
OPTIONS = {
    "pullSecret": "registry",
    "autoscaling": {"enabled": True},
    "gateway": {"enabled": True, "parentRef": {"name": "web", "namespace": "edge"}, "hostnames": ["category.example"]},
    "monitoring": {"enabled": True, "labels": {"release": "prometheus"}},
}
DIGESTS = {"stable": "sha256:" + "a" * 64, "baseline": "sha256:" + "a" * 64, "canary": "sha256:" + "1" * 64}


@pytest.fixture(scope="module")
def plain(model):
    return model.render()


@pytest.fixture(scope="module")
def full(model):
    return model.render(OPTIONS)


def labels(manifests, track):
    return manifests.pods()[f"category-{track}"]["metadata"]["labels"]


def test_helm_lints_it_strictly(model):
    done = helm("lint", "--strict", model.folder, "-f", model.least)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("changes", [{}, OPTIONS], ids=["plain", "full"])
def test_its_manifests_have_no_field_that_kubernetes_does_not_know(model, changes):
    assert [text for one in model.render(changes) for text in unknown_fields(one)] == []


def test_every_pod_meets_the_restricted_security_standard(full):
    assert {name: violations(pod["spec"]) for name, pod in full.pods().items()} == {
        f"category-{kind}{track}": [] for track in TRACKS for kind in ("", "test-")
    }


def test_containers_cannot_write_but_below_tmp_and_have_no_token(full):
    for _, container in full.containers():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    for pod in full.pods().values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]
        assert pod["spec"]["serviceAccountName"] == "category"
    assert full.one("ServiceAccount", "category")["automountServiceAccountToken"] is False


def test_containers_have_requests_and_limits_and_no_secret_in_their_environment(full):
    for name, container in full.containers():
        assert (
            container["resources"]["requests"].keys() == container["resources"]["limits"].keys() == {"cpu", "memory"}
        ), name
        assert container["env"] == [{"name": "HOME", "value": "/tmp"}]
        assert "envFrom" not in container
    assert full.of("Secret") == []


def test_each_track_runs_its_digest_and_nothing_runs_by_a_tag(full):
    images = {(name, container["image"]) for name, container in full.containers()}
    assert images == {
        (f"category-{kind}{track}", f"127.0.0.1:5000/category@{DIGESTS[track]}")
        for track in TRACKS
        for kind in ("", "test-")
    }


def test_pods_say_which_model_track_version_and_digest_they_are(plain):
    pod = plain.pods()["category-canary"]["metadata"]
    assert pod["labels"] == {
        "app.kubernetes.io/component": "server",
        "zeta.dev/model": "category",
        "zeta.dev/track": "canary",
        "zeta.dev/version": "4",
        "zeta.dev/digest": "1" * 12,
    }
    assert pod["annotations"] == {"zeta.dev/digest": DIGESTS["canary"]}


def test_every_object_is_labelled_with_the_model_and_all_labels_and_names_are_legal_however_long(model):
    name = "a" * 40
    found = model.render(OPTIONS | nested(("tracks", "canary", "version"), "v" * 63), release=name)
    for one in [*found, *found.pods().values()]:
        assert one["metadata"]["labels"]["zeta.dev/model"] == name
        assert all(LABEL.fullmatch(value) for value in one["metadata"]["labels"].values())
    assert all(NAME.fullmatch(one["metadata"]["name"]) for one in found)
    assert all(one["metadata"].get("namespace") is None for one in found)


@pytest.mark.parametrize("name", ["null", "on", "no", "y"])
def test_a_model_whose_name_means_something_else_in_yaml_keeps_it(model, name):
    found = model.render(OPTIONS, release=name)
    assert found.names("Service") == {name, *(f"{name}-{track}" for track in TRACKS)}
    assert {one["metadata"]["labels"]["zeta.dev/model"] for one in found} == {name}


def test_a_tracks_service_selects_its_own_pods_alone_and_the_models_all_that_serve(plain):
    chosen = {
        service["metadata"]["name"]: {
            name
            for name, pod in plain.pods().items()
            if selects(service["spec"]["selector"], pod["metadata"]["labels"])
        }
        for service in plain.of("Service")
    }
    assert chosen == {
        "category": {"category-stable", "category-baseline", "category-canary"},
        "category-stable": {"category-stable"},
        "category-baseline": {"category-baseline"},
        "category-canary": {"category-canary"},
    }


def test_a_canary_that_gets_no_share_is_no_part_of_the_models_service_and_stable_always_is(model):
    for track, chosen in (("canary", False), ("stable", True)):
        found = model.render(nested(("tracks", track, "weight"), 0))
        selector = found.one("Service", "category")["spec"]["selector"]
        assert selects(selector, found.pods()[f"category-{track}"]["metadata"]["labels"]) is chosen


def test_a_deployment_selects_its_own_pods_alone_by_labels_that_never_change(plain):
    for track in TRACKS:
        selector = plain.one("Deployment", f"category-{track}")["spec"]["selector"]
        assert [one for one in TRACKS if selects(selector, labels(plain, one))] == [track]
        assert selector["matchLabels"].keys().isdisjoint({"zeta.dev/version", "zeta.dev/digest", "helm.sh/chart"})


def test_services_lead_to_the_port_that_the_server_listens_on(plain):
    for service in plain.of("Service"):
        assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(80, "http")]
    for track in TRACKS:
        [server] = plain.one("Deployment", f"category-{track}")["spec"]["template"]["spec"]["containers"]
        assert server["ports"] == [{"name": "http", "containerPort": 8080}]


@pytest.mark.parametrize("tracks", [("canary",), ("stable",), ("stable", "canary")])
def test_a_role_that_is_absent_does_not_exist(model, tracks):
    found = model.render(OPTIONS | {"tracks": {track: None for track in TRACKS if track not in tracks}})
    assert found.names("Deployment") == {f"category-{track}" for track in tracks}
    assert found.names("Service") == {"category", *(f"category-{track}" for track in tracks)}
    assert found.names("Pod") == {f"category-test-{track}" for track in tracks}
    assert found.names("HorizontalPodAutoscaler") == {"category-stable"} & found.names("Deployment")
    [rule] = found.one("HTTPRoute", "category")["spec"]["rules"]
    assert {backend["name"] for backend in rule["backendRefs"]} == {f"category-{track}" for track in tracks}


@pytest.mark.parametrize(
    "changes",
    [
        {"tracks": {"canary": None}},
        {"tracks": {"canary": None, "baseline": None}},
        {
            "tracks": {
                "canary": {
                    "version": "5",
                    "image": "127.0.0.1:5000/category@sha256:" + "c" * 64,
                    "replicas": 3,
                    "weight": 50,
                }
            }
        },
        {"tracks": {"stable": {"weight": 10}}},
        {"gateway": OPTIONS["gateway"], "monitoring": OPTIONS["monitoring"]},
    ],
    ids=["canary removed", "both removed", "another canary", "weight", "gateway"],
)
def test_what_happens_to_the_canary_or_the_traffic_does_not_touch_the_stable_deployment(model, plain, changes):
    assert model.render(changes).one("Deployment", "category-stable") == plain.one("Deployment", "category-stable")


def test_promoting_changes_nothing_of_stable_but_its_version_and_digest(model, plain):
    found = model.render(
        {"tracks": {"stable": {"version": "4", "image": f"127.0.0.1:5000/category@{DIGESTS['canary']}"}}}
    )
    changed = differences(*(one.one("Deployment", "category-stable") for one in (plain, found)))
    pod = "/spec/template"
    assert changed == {
        "/metadata/labels/zeta.dev/version",
        "/metadata/annotations/zeta.dev/digest",
        f"{pod}/metadata/labels/zeta.dev/version",
        f"{pod}/metadata/labels/zeta.dev/digest",
        f"{pod}/metadata/annotations/zeta.dev/digest",
        f"{pod}/spec/containers/0/image",
        f"{pod}/spec/containers/0/args/1",
        f"{pod}/spec/containers/0/args/3",
    }


def test_a_new_version_of_the_chart_restarts_no_pod(model, plain, tmp_path):
    folder = shutil.copytree(model.folder, tmp_path / "model")
    described = yaml.safe_load((folder / "Chart.yaml").read_text())
    (folder / "Chart.yaml").write_text(yaml.safe_dump(described | {"version": "99.0.0"}))
    newer = replace(model, folder=folder).render()
    assert newer.one("Service", "category")["metadata"]["labels"]["helm.sh/chart"] == "model-99.0.0"
    assert newer.pods().keys() == plain.pods().keys()
    for track in TRACKS:
        assert newer.pods()[f"category-{track}"] == plain.pods()[f"category-{track}"]


def test_an_upgrade_keeps_every_pod_until_its_successor_is_ready(plain):
    for deployment in plain.of("Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "25%"}


@pytest.mark.parametrize("seconds", [1, 5, 60])
def test_a_pod_has_the_time_to_drain_and_then_to_end_what_is_in_flight(model, seconds):
    pod = model.render({"drainSeconds": seconds}).pods()["category-stable"]["spec"]
    [server] = pod["containers"]
    assert server["lifecycle"]["preStop"] == {"sleep": {"seconds": seconds}}
    assert pod["terminationGracePeriodSeconds"] > seconds + GRACE_SECONDS


def test_a_pod_has_startSeconds_to_start_and_its_deployment_fails_after_them(model):
    deployment = model.render({"startSeconds": 33}).one("Deployment", "category-canary")
    [server] = deployment["spec"]["template"]["spec"]["containers"]
    assert server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"] == 33
    assert deployment["spec"]["progressDeadlineSeconds"] == 33


def test_a_server_that_is_not_ready_is_not_restarted_so_that_it_can_say_why(plain):
    [server] = plain.pods()["category-canary"]["spec"]["containers"]
    probes = {probe: server[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert probes == {"startup": "/v2/health/live", "readiness": "/v2/health/ready", "liveness": "/v2/health/live"}


def test_replicas_are_spread_over_nodes_and_zones_by_track(plain):
    for track in TRACKS:
        spreads = plain.pods()[f"category-{track}"]["spec"]["topologySpreadConstraints"]
        assert [one["topologyKey"] for one in spreads] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        for one in spreads:
            assert [other for other in TRACKS if selects(one["labelSelector"], labels(plain, other))] == [track]


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"tracks": {"stable": {"replicas": 1}}}, False),
        ({"tracks": {"stable": None}}, False),
        ({"tracks": {"stable": {"replicas": 1}}, "autoscaling": {"enabled": True, "minReplicas": 2}}, True),
        ({"autoscaling": {"enabled": True, "minReplicas": 1}}, False),
    ],
)
def test_a_budget_for_disruptions_exists_where_stable_always_has_two_replicas(model, changes, there):
    found = model.render(changes)
    assert found.names("PodDisruptionBudget") == ({"category-stable"} if there else set())
    for budget in found.of("PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1
        assert [one for one in TRACKS if selects(budget["spec"]["selector"], labels(found, one))] == ["stable"]


def test_the_autoscaler_alone_sets_the_replicas_of_stable_and_of_nothing_else(plain, full):
    assert plain.of("HorizontalPodAutoscaler") == []
    assert plain.one("Deployment", "category-stable")["spec"]["replicas"] == 2
    [scaler] = full.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "category-stable",
    }
    assert "replicas" not in full.one("Deployment", "category-stable")["spec"]
    assert full.one("Deployment", "category-canary")["spec"]["replicas"] == 1


def test_the_route_shares_requests_by_the_tracks_weights(model, plain):
    assert plain.of("HTTPRoute") == []
    weights = {"stable": 25, "baseline": 25, "canary": 50}
    changes = {
        "tracks": {track: {"weight": weight} for track, weight in weights.items()},
        "gateway": OPTIONS["gateway"],
    }
    found = model.render(changes)
    [route] = found.of("HTTPRoute")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["spec"]["parentRefs"] == [{"name": "web", "namespace": "edge"}]
    assert route["spec"]["hostnames"] == ["category.example"]
    [rule] = route["spec"]["rules"]
    assert {backend["name"]: backend["weight"] for backend in rule["backendRefs"]} == {
        f"category-{track}": weight for track, weight in weights.items()
    }
    ports = {
        name: [port["port"] for port in found.one("Service", name)["spec"]["ports"]] for name in found.names("Service")
    }
    assert all(ports[backend["name"]] == [backend["port"]] for backend in rule["backendRefs"])


def test_serving_pods_are_reached_on_8080_alone_and_reach_nobody(plain):
    for track in TRACKS:
        [policy] = [
            one for one in plain.of("NetworkPolicy") if selects(one["spec"]["podSelector"], labels(plain, track))
        ]
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert policy["spec"]["ingress"] == [{"ports": [{"port": 8080}]}]
        assert policy["spec"]["egress"] == []


def test_test_pods_are_reached_by_nobody_and_reach_the_dns_and_the_model(plain):
    policy = plain.one("NetworkPolicy", "category-test")["spec"]
    assert selects(policy["podSelector"], labels(plain, "test-canary"))
    assert policy["ingress"] == []
    dns, asked = policy["egress"]
    assert {(port["port"], port["protocol"]) for port in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert asked["ports"] == [{"port": 8080}]
    [peer] = asked["to"]
    assert all(selects(peer["podSelector"], labels(plain, track)) for track in TRACKS)


def test_helm_test_asks_each_tracks_service_with_the_image_of_that_track(plain):
    for track in TRACKS:
        pod = plain.one("Pod", f"category-test-{track}")
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert pod["spec"]["restartPolicy"] == "Never"
        [golden] = pod["spec"]["containers"]
        assert golden["args"] == [f"http://category-{track}"]
        assert golden["image"].endswith(DIGESTS[track])


def test_prometheus_finds_each_serving_pod_once(full, plain):
    assert plain.of("ServiceMonitor") == []
    [monitor] = full.of("ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    chosen = [
        one["metadata"] for one in full.of("Service") if selects(monitor["spec"]["selector"], one["metadata"]["labels"])
    ]
    assert {one["name"] for one in chosen} == {f"category-{track}" for track in TRACKS}
    assert [one["path"] for one in monitor["spec"]["endpoints"]] == ["/metrics"]


def test_the_pull_secret_is_used_by_name_by_every_pod_and_only_when_given(plain, full):
    assert all(pod["spec"]["imagePullSecrets"] == [{"name": "registry"}] for pod in full.pods().values())
    assert all("imagePullSecrets" not in pod["spec"] for pod in plain.pods().values())


def test_the_notes_name_what_runs_and_the_next_commands(model):
    done = helm("install", "category", model.folder, "-n", "models", "--dry-run=client", "-f", model.least)
    notes = done.stdout.split("NOTES:")[1]
    assert f"category-canary: version 4, 127.0.0.1:5000/category@{DIGESTS['canary']}" in notes
    for command in ("zeta status category", "zeta rollback category", "helm test category -n models"):
        assert command in notes
