import pytest

from ganger_dev.errors import DevError
from ganger_dev.network import choose, cni


def test_the_first_free_subnet_is_chosen():
    network = choose("ganger", ["192.0.2.0/24", "10.244.200.0/24", "10.245.201.0/24"])

    assert "10.245.202.1" == network.node_address
    assert "10.244.202.0/24" == network.pod_subnet


def test_a_wide_route_blocks_every_subnet():
    with pytest.raises(DevError, match="no subnet is free"):
        choose("ganger", ["10.0.0.0/8"])


@pytest.mark.parametrize("name", ["a", "ganger", "a-very-long-name-ab"])
def test_a_link_name_is_short_enough_for_the_kernel(name):
    assert len(choose(name, []).bridge) <= 15


def test_pods_hang_on_links_of_their_own_and_nothing_is_masqueraded(tmp_path):
    plugin = cni(choose("ganger", []), tmp_path)["plugins"][0]

    assert ("ptp", False) == (plugin["type"], plugin["ipMasq"])
