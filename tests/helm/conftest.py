import pytest

from tests.helm.chart import REPOSITORY, Chart


@pytest.fixture(scope="session")
def model():
    """helm/model, as the release of the model ``category``."""
    return Chart("model", "category", "zeta", REPOSITORY / "helm/model")


@pytest.fixture(scope="session")
def zeta():
    """helm/zeta, as the release ``zeta``."""
    return Chart("zeta", "zeta", "zeta-system", REPOSITORY / "helm/zeta")
