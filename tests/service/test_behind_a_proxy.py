"""The service behind a proxy: nginx with a path, a limit of 1 MB and a private CA; whose headers count"""
import asyncio, json, os, ssl
from collections import Counter
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import soundfile
from typer.testing import CliRunner
from browsers import chromium_browser

from backend import SECRET, Idle, Quick, Receiver, free_port, until
from certificates import write_authority
from long_results import WORDS
from nginx import location, nginx
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.cli import app as cli
from ecg_audio_nb.service.app import Service, ServerSettings, build_app, server_settings
from ecg_audio_nb.service.limits import address_block, read_keys
from ecg_audio_nb.service.proxies import plain_address, read_prefix, read_public_url, without_prefix
from ecg_audio_nb.settings import SettingsError, load_settings
from conftest import SAMPLE

TESTS = Path(__file__).resolve().parents[1]
KEY = "a-key-of-some-length"
JOBS = 20
pytestmark = pytest.mark.timeout(1800)


class LongTalks(Idle):
    "A service whose every recording is an hour long, and analyzed at once"
    more = f"""{Idle.more}
import long_results
jobs.analyze = lambda source, settings, hook=None: long_results.hour_long()"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return folder, *write_authority(folder, "localhost", "127.0.0.1")

def https(authority): return ssl.create_default_context(cafile=authority[1])

def python_path(): return os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.parametrize(
    "target", ["/", pytest.param("", marks=pytest.mark.slow)], ids=["prefix removed", "prefix left"]
)
def test_twenty_jobs_of_an_hour_reach_a_backend_behind_nginx(tmp_path, authority, target):
    "Every job's end is told, in short as nginx takes 1 MB; each link of an answer leads to its result"
    folder, ca, cert, key = authority
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, load_audio(SAMPLE).cut(1.5, 3).samples, 16000)
    port = free_port()
    env = {
        "ECG_API_KEYS": KEY,
        "ECG_BACKEND_URL": f"https://localhost:{port}/backend",
        "ECG_WEBHOOK_SECRET": SECRET,
        "SSL_CERT_FILE": ca,
        "PYTHONPATH": python_path(),
    }
    server = LongTalks(tmp_path, tmp_path, **env).start()
    with Receiver(secret=SECRET) as r:
        places = [location("/ecg", server.port, target), location("/backend", r.port)]
        with nginx(tmp_path / "nginx", cert, key, places, port):
            base = f"https://localhost:{port}/ecg/"
            headers = {"authorization": f"Bearer {KEY}", "accept-encoding": "identity"}
            client = httpx.Client(verify=https(authority), headers=headers, timeout=600, trust_env=False)
            jobs = {}
            for n in range(JOBS):
                asked = {"job_id": f"talk-{n}", "video_url": str(talk)}
                answer = client.post(f"{base}api/upload-video/process-video", json=asked)
                assert answer.status_code == 200, answer.text
                jobs[f"talk-{n}"] = answer.json()["status_url"]
            assert jobs["talk-7"] == "/ecg/jobs/talk-7"
            until(lambda: sum(b["status"] == "completed" for b in r.bodies()) >= JOBS)
            finals = [b for b in r.bodies() if b["status"] != "processing"]
            assert Counter(b["job_id"] for b in finals) == dict.fromkeys(jobs, 1)
            assert all(b["result"] is None and b["result_counts"]["total_words"] == WORDS for b in finals)
            for body in finals[:3]:
                result = client.get(urljoin(base, body["result_url"])).json()
                assert len(result["word_segments"]) == WORDS and result["segments"][0]["speaker"]
            status = client.get(urljoin(base, jobs["talk-7"])).json()
            assert status["result_url"] == "/ecg/jobs/talk-7/result"
            assert len(client.get(urljoin(base, status["result_url"])).json()["segments"]) == 900
            with client.stream("GET", f"{base}jobs/talk-7/events") as events:
                assert "x-accel-buffering" not in events.headers # for nginx, which keeps it
                [line] = [line for line in events.iter_lines() if line.startswith("data: ")]
            assert json.loads(line[6:])["result_url"] == "/ecg/jobs/talk-7/result"
            assert client.get(f"{base}openapi.json").json()["servers"] == [{"url": "/ecg"}]
            assert client.get(base).headers["content-type"].startswith("text/html")
    assert server.stop() == 0
    assert not [line for line in server.lines() if line["level"] == "error"]


@pytest.mark.slow
def test_the_page_works_below_a_path(tmp_path, authority):
    folder, ca, cert, key = authority
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, load_audio(SAMPLE).cut(1.5, 3).samples, 16000)
    server = Quick(tmp_path, tmp_path).start()
    plain = location("/deep/ecg", server.port).replace("X-Forwarded-Prefix /deep/ecg", "X-Other none")
    with nginx(tmp_path / "nginx", cert, key, [plain]) as port: # which tells the service nothing of the path
        with chromium_browser("the page is not driven", "--mute-audio") as chromium:
            page = chromium.new_context(ignore_https_errors=True).new_page()
            page.goto(f"https://localhost:{port}/deep/ecg/")
            page.get_by_label("File").set_input_files(str(talk))
            page.get_by_role("button", name="Transcribe").click()
            page.locator(".job.completed").wait_for(timeout=600_000)
            assert page.get_by_role("region", name="Transcript").inner_text()
    assert server.stop() == 0


# Whose headers count

@pytest.fixture
def app(tmp_path):
    "Makes the application without its threads, called from an address"
    made = []
    def make(client="127.0.0.1", keys=None, hosts=None, **limits):
        settings = load_settings({"runtime.data_dir": str(tmp_path / str(len(made)))}, "demo")
        made.append(Service(settings, ServerSettings(allow_private=True, **limits)))
        built = build_app(made[-1], read_keys(keys), hosts)
        transport = httpx.ASGITransport(built, client=(client, 123))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
    yield make
    for service in made: service.close()

def ask(client, *requests):
    "Answers to (path, headers), one after the other"
    async def all_of_them():
        async with client:
            return [await client.get(path, headers=headers) for path, headers in requests]
    return asyncio.run(all_of_them())

def post(client, path="/api/upload-video/process-video", **headers):
    async def one():
        async with client:
            body = {"job_id": "a", "video_url": "https://media.example.org/a.mp4"}
            return (await client.post(path, json=body, headers=headers)).json()
    return asyncio.run(one())["status_url"]

FORWARDED = {"x-forwarded-prefix": "/ecg/"}

def test_a_prefix_counts_if_a_trusted_proxy_names_it(app):
    assert post(app(), **FORWARDED) == "/ecg/jobs/a"
    assert post(app("::1"), **FORWARDED) == "/ecg/jobs/a"
    assert post(app("::ffff:127.0.0.1"), **FORWARDED) == "/ecg/jobs/a"
    assert post(app("10.1.2.3"), **FORWARDED) == "/jobs/a"
    assert post(app("10.1.2.3", trusted_proxies="10.0.0.0/8"), **FORWARDED) == "/ecg/jobs/a"
    assert post(app(trusted_proxies=""), **FORWARDED) == "/jobs/a"
    for wrong in ("//evil.example", "/a\\b", "/a/../b", "https://evil.example", "/" + "x" * 300, "/a?b"):
        assert post(app(), **{"x-forwarded-prefix": wrong}) == "/jobs/a"

def test_a_prefix_by_setting_and_with_the_path_left_in_requests(app):
    assert post(app(root_path="/ecg")) == "/ecg/jobs/a"
    assert post(app(root_path="/ecg"), "/ecg/api/upload-video/process-video") == "/ecg/jobs/a"
    assert post(app(public_url="https://x.org/ecg/"), "/ecg/api/upload-video/process-video") == "/ecg/jobs/a"
    assert post(app(root_path="/ecg"), **{"x-forwarded-prefix": "/other"}) == "/other/jobs/a"
    answers = ask(app(root_path="/ecg"), ("/ecg", {}), ("/ecg/health", {}), ("/ecgs/health", {}))
    assert [a.status_code for a in answers] == [200, 200, 404]
    assert answers[0].headers["content-type"].startswith("text/html")

def test_a_callers_address_counts_if_a_trusted_proxy_names_it(app, caplog):
    caplog.set_level("INFO")
    def callers(client, *names, **limits):
        caplog.clear()
        ask(app(client, **limits), *[("/health", {"x-forwarded-for": name}) for name in names])
        return [r.more["caller"] for r in caplog.records if r.message == "request"]
    assert callers("127.0.0.1", "203.0.113.7", "9.9.9.9, 203.0.113.7") == ["203.0.113.7"] * 2
    assert callers("198.51.100.1", "203.0.113.7") == ["198.51.100.1"]
    chain = callers("10.0.0.1", "203.0.113.7, 10.0.0.2", trusted_proxies="10.0.0.0/24")
    assert chain == ["203.0.113.7"]
    assert callers("127.0.0.1", "2001:db8:1:2:3::4", "[2001:db8:1:2:9::9]:80") == ["2001:db8:1:2::/64"] * 2

def test_a_rate_is_each_callers_own_behind_a_proxy(app):
    many = [("/jobs/a", {"x-forwarded-for": f"203.0.113.{n}"}) for n in range(4)]
    assert {a.status_code for a in ask(app(requests_per_minute=1), *many)} == {404}
    assert ask(app("10.0.0.1", requests_per_minute=1), *many)[-1].status_code == 429

def test_pages_of_this_site_may_call_whatever_host_the_proxy_sends(app):
    page = {"origin": "https://transcripts.example.org", "x-forwarded-host": "transcripts.example.org"}
    foreign = {**page, "origin": "https://evil.example"}
    assert [a.status_code for a in ask(app(), ("/health", page), ("/health", foreign))] == [200, 403]
    assert ask(app("10.0.0.1"), ("/health", page))[0].status_code == 403 # not a trusted proxy

def test_a_forwarded_host_opens_no_door_to_a_name_server_that_lies(app):
    rebound = {"host": "evil.example", "x-forwarded-host": "127.0.0.1"}
    assert ask(app(hosts=("127.0.0.1",)), ("/health", rebound))[0].status_code == 421

def test_what_can_not_be_is_said_at_the_start():
    for key, value, rule in (
        ("root_path", "ecg", "write a path such as /ecg"),
        ("public_url", "transcripts.example.org", "write a URL such as"),
        ("public_url", "https://x.org/?a=1", "write a URL such as"),
        ("trusted_proxies", "nginx", "write 10.0.0.7 or 10.0.0.0/8"),
        ("callback_gzip", "maybe", "'auto', 'always' or 'never'"),
    ):
        with pytest.raises(SettingsError, match=f"server.{key}") as e: server_settings({key: value})
        assert rule in str(e.value)

def test_a_path_that_is_none_is_said_by_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("ECG_DATA_DIR", str(tmp_path))
    said = CliRunner().invoke(cli, ["serve", "--root-path", "ecg"])
    assert said.exit_code == 1 and "server.root_path = 'ecg': write a path such as /ecg" in said.output

def test_prefixes_urls_and_addresses_are_read():
    assert [read_prefix(t) for t in ("", "/", "/ecg/", "/a/b")] == ["", "", "/ecg", "/a/b"]
    assert read_public_url("https://x.org:8443/ecg/") == "https://x.org:8443/ecg"
    assert read_public_url("http://[::1]:80") == "http://[::1]:80"
    paths = "/e", "/e/", "/e/a", "/ea", "/a"
    assert [without_prefix(p, "/e") for p in paths] == ["/", "/", "/a", "/ea", "/a"]
    assert [plain_address(a) for a in ("::ffff:10.0.0.1", "::1", "local")] == ["10.0.0.1", "::1", "local"]
    assert [address_block(a) for a in ("10.0.0.1", "::1", "2001:db8::1", "x" * 200)] == [
        "10.0.0.1",
        "::1",
        "2001:db8::/64",
        "x" * 100,
    ]
    assert address_block("[2001:db8::1]:443") == "2001:db8::/64"
