"""What is counted stays bounded."""

from pipeline.serving.metrics import Metrics


def test_only_the_first_hundred_labels_have_a_counter_of_their_own():
    metrics = Metrics("titles", "1", "sha256:abc", in_flight=lambda: 0)
    metrics.predictions([f"label {number}" for number in range(150)])
    metrics.predictions(["label 3", "label 149"])
    lines = [line for line in metrics.text().decode().splitlines() if line.startswith("zeta_predictions_total{")]
    counts = dict(line.rsplit(" ", 1) for line in lines)
    assert len(counts) == 101
    assert counts['zeta_predictions_total{label="label 3"}'] == "2.0"
    assert counts['zeta_predictions_total{label="other"}'] == "51.0"
