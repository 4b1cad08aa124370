import subprocess
import sys

import pytest

from pipeline import fingerprint
from pipeline.errors import ConfigError


def test_a_fingerprint_names_each_part_and_is_the_same_in_every_process():
    parts = fingerprint.current(["japanese"])
    assert {
        "python",
        "numpy",
        "scipy",
        "scikit-learn",
        "skops",
        "japanese.tokenisation",
        "japanese.sys.dic",
    } <= parts.keys()
    assert set(fingerprint.current([])) == {"python", "numpy", "scipy", "scikit-learn", "skops"}
    script = "from pipeline import fingerprint; print(fingerprint.digest(fingerprint.current(['japanese'])))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == fingerprint.digest(parts)


def test_each_part_that_differs_is_said_with_both_values():
    recorded = {"numpy": "2.3", "python": "3.11", "japanese.sys.dic": "aa"}
    now = {"numpy": "2.4", "python": "3.11", "scipy": "1.17"}
    assert fingerprint.differences(recorded, now) == [
        "japanese.sys.dic is absent, at training it was aa",
        "numpy is 2.4, at training it was 2.3",
        "scipy is 1.17, at training it was absent",
    ]
    assert fingerprint.differences(recorded, dict(reversed(recorded.items()))) == []


def test_a_digest_depends_on_every_value_and_not_on_the_order():
    parts = {"numpy": "2.3", "python": "3.11"}
    assert fingerprint.digest(dict(reversed(parts.items()))) == fingerprint.digest(parts)
    assert fingerprint.digest({**parts, "numpy": "2.4"}) != fingerprint.digest(parts)


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("nowhere", "'nowhere': No module named 'pipeline.components.nowhere'"),
        ("labels", "'labels': module 'pipeline.components.labels' has no attribute 'fingerprint'"),
    ],
)
def test_a_component_that_has_no_fingerprint_is_the_authors_to_mend(component, words):
    with pytest.raises(ConfigError, match=rf"components: {words}.*pipeline/components/{component}\.py"):
        fingerprint.current([component])
