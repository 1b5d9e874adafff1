"""`make chart` in short: all pairs of values on a real API server, and a release's life where no kubelet runs."""

import pytest

from ganger_dev.chart import matrix
from ganger_dev.chart.lifecycle import Life
from ganger_dev.chart.programs import Programs
from ganger_dev.chart.tally import Tally

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("namespaces")]


@pytest.fixture
def programs(helm, control_plane, tmp_path):
    """helm and kubectl, that remember nothing of what the server served before."""
    return Programs(home=tmp_path / "home", kubeconfig=control_plane.kubeconfig)


@pytest.mark.usefixtures("others")
def test_the_server_takes_every_object_of_every_pair_of_values(programs):
    tally = Tally()
    matrix.combinations(programs, tally, definitions=True)

    assert [] == tally.misses
    assert 100 < tally.held["different objects taken by the API server with the definitions of other operators"]


def test_jobs_outlive_upgrade_rollback_and_uninstall(programs, tmp_path):
    tally = Tally()
    Life(programs=programs, tally=tally, kubelet=False).run(tmp_path)

    assert [] == tally.misses
