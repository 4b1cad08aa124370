"""Airflow's run of a model's DAG and ``zeta run`` leave the same behind."""

from tests.dags.played import airflow, play
from tests.installation import BOOTSTRAP, KEEP, RECOVERED, at, run


def left(installation, name):
    """Return what runs have left, but for the model's name, digests that hold it, and times."""
    seen = installation.seen(name)
    for tags in seen["versions"].values():
        assert tags.pop("digest", "").startswith("sha256:") or tags["gate"] != "promote"
    for metrics in seen["metrics"].values():
        for key in [key for key in metrics if key.startswith("seconds_")]:
            del metrics[key]
    seen["releases"] = {role: found and found[0] for role, found in seen["releases"].items()}
    return seen


def test_the_scheduler_and_zeta_run_come_to_the_same(installation):
    name, twin = installation.toy(alerts=[]), installation.toy(alerts=[])
    airflow(installation.home, "-m", "airflow", "db", "migrate")
    models = str(installation.folder / "models")
    for day in (BOOTSTRAP, KEEP, RECOVERED):
        dag = f"zeta_{name}"
        played = play(installation.home, "play", at(day).isoformat(), dag, ZETA_MODELS=models)[dag]
        assert played["state"] == "success", played
        run(twin, day)
        assert left(installation, name) == left(installation, twin)
    assert left(installation, name)["releases"]["stable"] == "2"
