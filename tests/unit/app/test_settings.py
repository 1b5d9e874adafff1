import pytest

from ganger.app import __main__ as app
from ganger.app.settings import Settings, SettingsError, read
from ganger.kube.access import Access, AccessError, NoToken


def test_an_empty_environment_has_sound_defaults(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "host-1")

    expected = Settings(namespace="default", identity="host-1", default_image="pytorch-cuda:v2.15")
    assert expected == read({})


def test_every_setting_is_read():
    env = {
        "GANGER_NAMESPACE": "ganger-system",
        "GANGER_POD": "ganger-0",
        "GANGER_DEFAULT_IMAGE": "registry.example/pytorch-cuda@sha256:" + "0" * 64,
        "GANGER_WATCH_NAMESPACES": " team-a, team-b,,team-a",
        "GANGER_HTTP_PORT": "9000",
        "GANGER_SYNC_WORKERS": "32",
        "GANGER_WATCH_SILENCE_SECONDS": "20",
        "GANGER_LOG_LEVEL": "debug",
        "GANGER_READ_NODES": "False",
        "GANGER_POD_GROUPS": "false",
        "GANGER_PRIORITY_BOOST": "10",
        "GANGER_ISOLATE_JOBS": "true",
        "GANGER_SHARDS": "4",
    }

    expected = Settings(
        namespace="ganger-system",
        identity="ganger-0",
        default_image=env["GANGER_DEFAULT_IMAGE"],
        watch_namespaces=("team-a", "team-b"),
        http_port=9000,
        sync_workers=32,
        watch_silence_seconds=20,
        log_level="DEBUG",
        read_nodes=False,
        pod_groups=False,
        priority_boost=10,
        isolate_jobs=True,
        shards=4,
    )
    assert expected == read(env)


MISTAKES = {
    "GANGER_NAMESPACE": "Team A",
    "GANGER_DEFAULT_IMAGE": "img; rm -rf /",
    "GANGER_WATCH_NAMESPACES": "team-a,Team_B",
    "GANGER_HTTP_PORT": "70000",
    "GANGER_SYNC_WORKERS": "0",
    "GANGER_WATCH_SILENCE_SECONDS": "4",
    "GANGER_LOG_LEVEL": "LOUD",
    "GANGER_READ_NODES": "maybe",
    "GANGER_POD_GROUPS": "",
    "GANGER_PRIORITY_BOOST": "31",
    "GANGER_ISOLATE_JOBS": "please",
    "GANGER_SHARDS": "17",
}


def test_all_mistakes_are_told_at_once_a_line_each():
    with pytest.raises(SettingsError) as caught:
        read(MISTAKES)
    lines = str(caught.value).splitlines()

    assert sorted(MISTAKES) == sorted(line.split("=")[0].split(":")[0] for line in lines)
    assert any("'Team_B'" in line for line in lines)
    assert any("from 1 to 256" in line for line in lines)
    assert any("DEBUG, INFO, WARNING, ERROR" in line for line in lines)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1e3", " 1", "\u0663", "many", "9" * 30])
def test_a_number_is_ascii_digits_within_its_bounds(text):
    with pytest.raises(SettingsError, match="GANGER_SYNC_WORKERS"):
        read({"GANGER_SYNC_WORKERS": text})


@pytest.mark.parametrize(("name", "text"), [("GANGER_HTTP_PORT", "65535"), ("GANGER_SYNC_WORKERS", "256")])
def test_the_bounds_themselves_are_allowed(name, text):
    read({name: text})


def test_mistakes_end_the_operator_with_78_and_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr("os.environ", MISTAKES)

    assert 78 == app.main()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert len(MISTAKES) + 1 == len(said.splitlines())


@pytest.fixture
def quiet(monkeypatch):
    """`main` without its hold on the logs of the test."""
    monkeypatch.setattr("os.environ", {"GANGER_HTTP_PORT": "1"})
    monkeypatch.setattr("ganger.observe.logs.configure", lambda level: None)


def test_no_way_to_the_api_server_ends_the_operator_with_78(quiet, monkeypatch, caplog):
    async def find():
        raise AccessError("there is no kubeconfig at /nowhere")

    monkeypatch.setattr(app, "find", find)

    assert 78 == app.main()
    assert "there is no kubeconfig at /nowhere" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_port_in_use_ends_the_operator_with_1(quiet, monkeypatch, caplog):
    async def find():
        return Access(url="http://127.0.0.1:1", token=NoToken())

    async def start(self, host, port, *, tls=None):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(app, "find", find)
    monkeypatch.setattr("ganger.observe.server.Server.start", start)

    assert 1 == app.main()
    assert "a port cannot be served: [Errno 98] Address already in use" in caplog.text


def test_an_error_of_ours_ends_the_operator_with_1_and_is_logged_as_one_record(quiet, monkeypatch, caplog):
    async def find():
        raise RuntimeError("a defect")

    monkeypatch.setattr(app, "find", find)

    assert 1 == app.main()
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "a defect" in str(record.exc_info[1])
