from pathlib import Path

from ganger_dev.cluster import mounts_below

TABLE = r"""
proc /proc proc rw 0 0
tmpfs /c/kubelet/pods/1/volumes/token tmpfs rw 0 0
overlay /c/run/rootfs overlay rw 0 0
tmpfs /c tmpfs rw 0 0
tmpfs /c\040other/x tmpfs rw 0 0
tmpfs /cc tmpfs rw 0 0
""".strip()


def test_mounts_are_removed_innermost_first_and_strangers_stay():
    assert ["/c/kubelet/pods/1/volumes/token", "/c/run/rootfs", "/c"] == mounts_below(Path("/c"), TABLE)


def test_a_blank_in_a_path_is_understood():
    assert ["/c other/x"] == mounts_below(Path("/c other"), TABLE)
