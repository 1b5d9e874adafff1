"""Standard error of a pod: every byte goes on unchanged, and the last lines are kept."""

import os
import subprocess
import sys

import pytest

from ganger_trainer.lastlines import CHARACTERS_MAX, KEPT_BYTES, LINES_MAX, LastLines


@pytest.fixture
def kept(tmp_path):
    """Write bytes through a descriptor that is watched; return (lines kept, bytes that arrived)."""

    def write(*chunks):
        descriptor = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        watched = LastLines(descriptor)
        for chunk in chunks:
            rest = chunk
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        watched.close(10.0)
        os.close(descriptor)
        return watched.lines(), (tmp_path / "stderr").read_bytes()

    return write


def test_the_last_ten_lines_are_kept_and_every_byte_arrives(kept):
    data = b"".join(b"line %d\n" % number for number in range(100_000))

    lines, arrived = kept(data)

    assert [f"line {number}" for number in range(100_000 - LINES_MAX, 100_000)] == lines
    assert data == arrived


def test_bytes_that_are_not_text_arrive_and_are_replaced_in_the_lines(kept):
    lines, arrived = kept(b"caf\xc3", b"\xa9 \xff\xfe\n", b"\x00\x01end")

    assert ["café ��", "end"] == lines
    assert b"caf\xc3\xa9 \xff\xfe\n\x00\x01end" == arrived


def test_a_progress_bar_counts_as_it_stands_and_colours_are_left_out(kept):
    lines, _ = kept(b"\r 10%|#   |\r 90%|### |\n", b"\x1b[31mError:\x1b[0m no\tway\r\n", b"\n  \n")

    assert [" 90%|### |", "Error: no\tway"] == lines


CRASH = b"""what(): out of memory
Fatal Python error: Aborted

Thread 0x00007f00 (most recent call first):
  File "other.py", line 1 in wait

Current thread 0x00007f01 [python] (most recent call first):
  File "a.py", line 3 in inner
  File "a.py", line 9 in outer
  File "b.py", line 1 in <module>
  ...

Extension modules: numpy, torch (total: 2)
"""


def test_stacks_of_a_crash_do_not_hide_what_was_said_before(kept):
    lines, arrived = kept(CRASH)

    assert [
        "what(): out of memory",
        "Fatal Python error: Aborted",
        "Current thread 0x00007f01 [python] (most recent call first):",
        '  File "a.py", line 3 in inner',
        '  File "a.py", line 9 in outer',
    ] == lines
    assert CRASH == arrived


def test_a_line_longer_than_what_is_kept_is_cut_and_arrives_whole(kept):
    data = b"x" * 3 * KEPT_BYTES + b"\nValueError: " + "é".encode() * 500

    lines, arrived = kept(data)

    assert ["x" * CHARACTERS_MAX, ("ValueError: " + "é" * 500)[:CHARACTERS_MAX]] == lines
    assert data == arrived


def test_a_reader_that_is_gone_does_not_stop_the_writer():
    reader, writer = os.pipe()
    watched = LastLines(writer)
    os.close(reader)
    for _ in range(64):
        os.write(writer, b"y" * (64 << 10))  # 4 MiB: more than any pipe holds
    os.write(writer, b"\nlast\n")
    watched.close(10.0)
    os.close(writer)

    assert "last" == watched.lines()[-1]


CHILDREN = """
import os, sys
from ganger_trainer.lastlines import LastLines
watched = LastLines()
if os.fork() == 0:
    os.write(2, b"child: abort\\n")
    os.abort()
os.wait()
print("parent", file=sys.stderr, flush=True)
watched.close()
print(watched.lines(), flush=True)
os._exit(0)
"""


def test_what_a_child_said_before_it_aborted_is_there_at_the_end():
    environ = {"PYTHONPATH": ":".join(sys.path)}
    said = subprocess.run([sys.executable, "-c", CHILDREN], env=environ, capture_output=True, text=True, check=True)

    assert "child: abort\nparent\n" == said.stderr
    assert "['child: abort', 'parent']\n" == said.stdout


ORPHANED = """
import os, signal, sys
from ganger_trainer.lastlines import LastLines
watched = LastLines()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.stdin.read()
    try:
        while True:
            os.write(2, b"z" * 65536)
    except BrokenPipeError:
        os.write(1, b"told that nobody reads")
    os._exit(0)
os._exit(0)
"""


def test_a_worker_that_outlives_its_supervisor_is_not_left_hanging_on_a_full_pipe():
    environ = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANED], env=environ, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL
    ) as parent:
        parent.wait(20)
        parent.stdin.close()  # only now does the child write
        assert b"told that nobody reads" == parent.stdout.read()
