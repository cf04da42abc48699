"""What strangers may try: each source is refused with the rule it breaks, nothing is fetched, nothing is left
behind.

Servers on loopback count who reaches them. Under `fetch.public_only` nobody does, but for the hosts a test
lets in by name.
"""
import ssl
import os
import socket
import subprocess
import sys
import textwrap
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

import ecg_audio_nb.audio.fetch as fetch
from certificates import write_certificate
from ecg_audio_nb.audio import public_fetch
from ecg_audio_nb.core.workers import ChildError
from counting_server import BODY, serving

from ecg_audio_nb.audio.fetch import FetchError, check_callback, open_source, resolve_public, public_address
from ecg_audio_nb.audio.media import MediaError, load_audio
from ecg_audio_nb.settings import FetchSettings, MediaSettings, load_settings

@pytest.fixture(scope="module")
def servers():
    with serving() as outside, serving() as inside: yield outside, inside


@pytest.fixture
def outside(servers):
    "The server a stranger owns; `let_in` lets it stand for a public one"
    for server in servers: server.asked.clear()
    return servers[0]


@pytest.fixture
def inside(servers): return servers[1]


@pytest.fixture
def temp(tmp_path, monkeypatch):
    "The folder for downloads, and the system's: empty in the end"
    folder, system = tmp_path / "downloads", tmp_path / "system"
    folder.mkdir(); system.mkdir()
    monkeypatch.setattr(fetch.tempfile, "tempdir", str(system))
    yield folder
    assert [*folder.iterdir(), *system.iterdir()] == []


class Here:
    "The child's work in this process, where a test can patch the name server"
    def __init__(self, target, timeout=None, **limits): self.run = getattr(fetch, target.rpartition(":")[2])
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def stream(self, request):
        try: yield from self.run(request, b"")
        except Exception as e: raise ChildError(type(e).__name__, str(e)) from None


@pytest.fixture
def names(monkeypatch):
    "name -> the addresses each question gets in turn; the last stays. Questions are counted"
    book, asked, real = {}, [], socket.getaddrinfo
    def answer(host, port, *args, **kwargs):
        if host.replace(".", "").isdigit() or ":" in host: return real(host, port, *args, **kwargs)
        asked.append(host)
        if host not in book: raise socket.gaierror(socket.EAI_NONAME, "unknown")
        turns = book[host]
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in found
        ]

    monkeypatch.setattr(public_fetch.socket, "getaddrinfo", answer)
    monkeypatch.setattr(fetch, "Child", Here)
    book["asked"] = asked
    return book


def service(**settings): return FetchSettings(public_only=True, **settings)
def let_in(*servers, host="127.0.0.1", **settings):
    return service(
        allow_private=host, allow_ports=tuple(s.server_port for s in servers) + (80, 443), **settings
    )


def refusal(source, temp, settings):
    with pytest.raises(FetchError) as caught, open_source(source, settings, temp): pass
    said = str(caught.value)
    assert "\n" not in said and len(said) < 700
    return said


# -- addresses

@pytest.mark.parametrize(
    "ip, public",
    [
        ("8.8.8.8", True),
        ("93.184.215.14", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::808:808", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::", False),
        ("2001:0:7f00:1::", False),
        ("2001:0:808:808::f5ff:fffe", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("2606:4700::1111%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("4000::1", False),
    ],
)
def test_public_addresses(ip, public): assert public_address(ip) is public


SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "2130706433",
    "0177.0.0.1",
    "0x7f000001",
    "0x7F.0.0.1",
    "127.1",
    "127.0.1",
    "0",
    "127.0.0.1.",
    "017700000001",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:FFFF:7F00:0001]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "LOCALHOST",
    "localhost.",
    "169.254.169.254",
    "2852039166",
    "[::ffff:a9fe:a9fe]",
    "10.0.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "[fd00:ec2::254]",
]

@pytest.mark.parametrize("host", SPELLINGS)
def test_every_spelling_of_an_inner_address_is_one_refusal(host, outside, temp, monkeypatch):
    monkeypatch.setattr(fetch, "Child", Here)
    said = refusal(f"http://{host}:{outside.server_port}/ok", temp, service(allow_ports=""))
    assert "has an address that is not public, and fetch.public_only allows no other" in said
    assert outside.asked == []


ADDRESSES = [  # source, settings, the rule that is named
    ("http://[fe80::1%25eth0]/", {}, "names no host"),  # a zone
    ("http://256.1.1.1/", {}, "names no host"),
    ("http://1.2.3.4.5/", {}, "names no host"),
    ("http://0x/", {}, "names no host"),
    ("http://a b.org/", {}, "characters no host has"),
    ("http://a.org\\@127.0.0.1/", {}, "characters no host has"),
    ("http://a.org\r\nHost: b/", {}, "characters no host has"),
    ("http:///x", {}, "names no host"),
    ("http://a..b/", {}, "names no host"),
    ("http://ann:pw@example.org/a", {}, "user or password"),
    ("http://example.org@127.0.0.1/a", {}, "user or password"),
    ("http://@example.org/a", {}, "user or password"),
    ("http://example.org:22/", {}, "port 22 is not among fetch.allow_ports"),
    ("http://example.org:0/", {}, "port 0 is not among"),
    ("http://example.org:8080/", {}, "port 8080 is not among"),
    ("http://example.org:nan/", {}, "names no host"),
    ("https://evil.org/", {"allow_hosts": "example.org"}, "evil.org is not among fetch.allow_hosts"),
    ("https://example.org.evil.org/", {"allow_hosts": "*.example.org"}, "is not among fetch.allow_hosts"),
    ("ftp://example.org/a", {}, "no way to fetch ftp://"),
    ("gopher://127.0.0.1:6379/_x", {}, "no way to fetch gopher://"),
    ("s3://secret/key", {}, "its bucket is not among fetch.allow_buckets (none)"),
    ("s3://secret/key", {"allow_buckets": "media"}, "its bucket is not among fetch.allow_buckets (media)"),
    ("s3://media?x/key", {"allow_buckets": "media"}, "its bucket is not among"),
    ("s3://ann@media/key", {"allow_buckets": "media"}, "its bucket is not among"),
    ("file:///etc/passwd", {}, "local paths are not open here"),
    ("/etc/passwd", {}, "local paths are not open here"),
    ("~/.ssh/id_rsa", {}, "local paths are not open here"),
    ("talk.mp4", {}, "local paths are not open here"),
    ("file:///srv/media/a.mp4", {"media_roots": "/srv/media"}, "file:// is refused under fetch.public_only"),
    ("FILE://localhost/srv/media/a.mp4", {"media_roots": "/srv/media"}, "file:// is refused"),
    ("/srv/media/../../etc/passwd", {"media_roots": "/srv/media"}, "outside of fetch.media_roots"),
    ("/srv/mediaX/a.mp4", {"media_roots": "/srv/media"}, "outside of fetch.media_roots"),
    ("/srv/media/a\0.mp4", {"media_roots": "/srv/media"}, ""),
    ("/proc/self/environ", {"media_roots": "/srv/media"}, "outside of fetch.media_roots"),
    ("concat:/etc/passwd|/etc/hosts", {"media_roots": "/srv/media"}, "outside of fetch.media_roots"),
    ("data:audio/wav;base64,UklGRg==", {"media_roots": "/srv/media"}, "outside of fetch.media_roots"),
    ("file:/etc/passwd", {"media_roots": "/srv/media"}, "outside of fetch.media_roots"),
    ("subfile,,start,0,end,9,,:/etc/passwd", {}, "local paths are not open here"),
    ("pipe:0", {}, "local paths are not open here"),
    ("https://youtu.be/x", {}, "YouTube is off; set fetch.youtube"),
]

@pytest.mark.parametrize("source, settings, rule", ADDRESSES, ids=[repr(a) for a, _, _ in ADDRESSES])
def test_a_source_that_is_refused_unasked(source, settings, rule, temp, monkeypatch):
    monkeypatch.setattr(fetch, "Child", None) # no child is even started
    monkeypatch.setattr(public_fetch.socket, "getaddrinfo", None)
    assert rule in refusal(source, temp, service(**settings))


def test_a_name_with_one_inner_address_is_refused(names, outside, temp):
    names["mixed.org"] = [["93.184.215.14", "127.0.0.1"]]
    assert "not public" in refusal(
        f"http://mixed.org:{outside.server_port}/ok", temp, service(allow_ports="")
    )
    assert outside.asked == [] and names["asked"] == ["mixed.org"]
    assert "no host of this name is known" in refusal("http://nobody.invalid/", temp, service())


def test_a_name_that_changes_its_mind_is_asked_once(names, outside, temp, monkeypatch):
    "DNS rebinding: public when checked, inner when asked again"
    names["rebind.org"] = [["93.184.215.14"], ["127.0.0.1"]]
    dialled = []
    def dial(address, timeout): dialled.append(address); raise ConnectionRefusedError
    monkeypatch.setattr(public_fetch.socket, "create_connection", dial)
    assert "no connection to the host" in refusal("http://rebind.org/ok", temp, service())
    assert dialled == [("93.184.215.14", 80)] and names["asked"] == ["rebind.org"]
    assert "not public" in refusal("http://rebind.org/ok", temp, service()) # the second time
    assert len(dialled) == 1 and outside.asked == []


# -- answers

@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_inward_is_refused(status, names, outside, inside, temp):
    names["inner.org"] = [["127.0.0.1"]]
    for host in ("localhost", "2130706433", "[::ffff:127.0.0.1]", "inner.org"):
        names["localhost"] = [["127.0.0.1"]]
        to = f"http://{host}:{inside.server_port}/ok"
        settings = let_in(outside, inside, host="outside.org")
        names["outside.org"] = [["127.0.0.1"]]
        assert "not public" in refusal(
            f"http://outside.org:{outside.server_port}/moved/{status}?to={to}", temp, settings
        ), host
    assert inside.asked == [] and len(outside.asked) == 4


@pytest.mark.parametrize(
    "to, rule",
    [
        ("file:///etc/passwd", "file: URLs are not followed"),
        ("ftp://example.org/a", "ftp: URLs are not followed"),
        ("s3://media/key", "s3: URLs are not followed"),
        ("gopher://x/", "gopher: URLs are not followed"),
        ("data:text/plain,x", "data: URLs are not followed"),
        ("//169.254.169.254/latest", "not public"),
        ("http://ann:pw@example.org/", "user or password"),
        ("http://example.org:22/", "port 22 is not among"),
        ("http://user@/", "names no host"),
        ("http://[::1", "no valid URL"),
    ],
)
def test_a_redirect_to_something_else_is_refused(to, rule, outside, temp, monkeypatch):
    monkeypatch.setattr(fetch, "Child", Here)
    assert rule in refusal(f"http://127.0.0.1:{outside.server_port}/moved/302?to={to}", temp, let_in(outside))


def test_from_https_down_to_http_is_refused():
    class Answer: headers = {"Location": "HTTP://example.org/a"}

    with pytest.raises(public_fetch.Refused, match="from https down to http"):
        public_fetch._next("https://example.org/", Answer)


ANSWERS = [
    ("circle", {"max_redirects": 3}, "more than fetch.max_redirects = 3 times"),
    ("nowhere", {}, "it redirects to nowhere"),
    ("huge", {"max_bytes": 1 << 30}, "larger than fetch.max_bytes"),
    ("bomb", {}, "compressed (Content-Encoding)"),
    ("endless", {"max_bytes": 1 << 22}, "larger than fetch.max_bytes"),
    ("short", {}, "the connection ended early"),
    ("status/404", {}, "nothing is there (404)"),
    ("status/403", {}, "the server answered 403"),
    ("status/206", {}, "the server answered 206"),
    ("status/503", {}, "try again later"),
]

@pytest.mark.parametrize("path, settings, rule", ANSWERS, ids=[a for a, _, _ in ANSWERS])
def test_an_answer_that_will_not_do(path, settings, rule, outside, temp, monkeypatch):
    monkeypatch.setattr(fetch, "Child", Here)
    assert rule in refusal(
        f"http://127.0.0.1:{outside.server_port}/{path}", temp, let_in(outside, **settings)
    )
    assert len(outside.asked) == (4 if path == "circle" else 1)


def test_a_drip_ends_with_the_whole_timeout(outside, temp):
    assert "longer than fetch.timeout = 3 s" in refusal(
        f"http://127.0.0.1:{outside.server_port}/drip", temp, let_in(outside, timeout=3)
    )


def test_what_may_come_in_comes_in_whole(outside, temp, monkeypatch):
    "Through a child, past the proxies of the environment"
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"): monkeypatch.setenv(name, "http://127.0.0.1:9")
    base = f"http://127.0.0.1:{outside.server_port}"
    for url in (f"{base}/ok/a%20b.mp4?sig=x%2F%2B", f"{base}/moved/302?to=/ok/a%2520b.mp4"):
        with open_source(url, let_in(outside), temp) as found: assert found.path.read_bytes() == BODY
    path, headers = outside.asked[0]
    assert (
        path == "/ok/a%20b.mp4?sig=x%2F%2B"
        and headers["Accept-Encoding"] == "identity"
        and "Authorization" not in headers
    )
    with open_source(f"{base}/chunked", let_in(outside), temp) as found:
        assert found.path.read_bytes() == b"bytes"


def test_tls_verifies_the_name(names, tmp_path, monkeypatch):
    "The connection goes to the pinned address; the certificate must be for the name"
    cert, key = write_certificate(tmp_path, "good.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("SSL_CERT_FILE", cert)
    names["good.org"] = names["other.org"] = [["127.0.0.1"]]
    with serving() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        settings = let_in(server, host="good.org,other.org")
        with open_source(f"https://good.org:{server.server_port}/ok", settings) as found:
            assert found.path.read_bytes() == BODY
        assert "certificate is not valid" in refusal(
            f"https://other.org:{server.server_port}/ok", None, settings
        )
        assert len(server.asked) == 1


# -- callbacks

def test_callbacks(names):
    names["public.org"], names["inner.org"] = [["93.184.215.14"]], [["10.0.0.7"]]
    assert resolve_public("https://public.org/done?x=1") == ("93.184.215.14", 443, "public.org")
    check_callback("http://PUBLIC.org./done", service())
    for url, rule in (
        ("http://inner.org/", "not public"),
        ("http://127.1/", "not public"),
        ("file:///x", "only http and https"),
        ("http://public.org:22/", "port 22"),
        ("http://a:b@public.org/", "user or password"),
        ("nonsense", "only http and https"),
    ):
        with pytest.raises(FetchError, match=rule): check_callback(url)
    mine = service(callback_hosts="inner.org")
    assert resolve_public("http://inner.org:8080/done", mine) == ("10.0.0.7", 8080, "inner.org")
    with pytest.raises(FetchError, match="public.org is not among fetch.callback_hosts"):
        check_callback("https://public.org/", mine)


# -- local paths

@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "talk.mp4").write_bytes(BODY)
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return folder


def test_a_path_inside_the_roots_is_read_where_it_lies(root, temp, monkeypatch):
    monkeypatch.setenv("ECG_MEDIA_ROOTS", str(root))
    monkeypatch.setenv("ECG_FETCH__PUBLIC_ONLY", "true")
    settings = load_settings().fetch
    with open_source(root / "talk.mp4", settings, temp) as found:
        assert (found.name, found.path.name, found.path.read_bytes()) == ("talk.mp4", "talk.mp4", BODY)
        # whatever happens to the name: the file that was checked is the one that is read
        (root / "talk.mp4").unlink()
        (root / "talk.mp4").symlink_to(root.parent / "secret.mp4")
        read = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys; sys.stdout.buffer.write(open({str(found.path)!r}, 'rb').read())",
            ],
            capture_output=True,
            check=True,
        ).stdout # and by the decoder's child
        assert read == BODY
    assert not os.path.lexists(found.path)
    assert "outside of fetch.media_roots" in refusal(root / "talk.mp4", temp, settings)


@pytest.mark.parametrize("how", ["link", "link to a folder", "dots", "loop"])
def test_no_way_leads_out_of_the_roots(how, root, temp):
    path = root / "x"
    if how == "link": path.symlink_to(root.parent / "secret.mp4")
    if how == "link to a folder": path.symlink_to(root.parent); path = path / "secret.mp4"
    if how == "dots": path = f"{root}/../secret.mp4"
    if how == "loop": path.symlink_to(path)
    said = refusal(path, temp, service(media_roots=str(root)))
    assert "outside of fetch.media_roots" in said or (how == "loop" and "can't be opened" in said)


@pytest.mark.parametrize("swap", ["file", "folder"])
def test_a_link_put_there_between_check_and_opening(swap, root, temp, monkeypatch):
    inner = root / "a"
    inner.mkdir()
    (inner / "secret.mp4").write_bytes(BODY)
    def late(path):  # runs after the comparison with the roots
        if swap == "file":
            (inner / "secret.mp4").unlink()
            (inner / "secret.mp4").symlink_to(root.parent / "secret.mp4")
        else: inner.rename(root / "b"); inner.symlink_to(root.parent)
    monkeypatch.setattr(fetch, "read_problem", late)
    said = refusal(inner / "secret.mp4", temp, service(media_roots=str(root)))
    assert ("can't be opened" if swap == "file" else "it changed while it was opened") in said


# -- media that is more, or other, than it seems

NESTED = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
    "hls.mp3": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n",
    "net.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:{port}/ok\n#EXT-X-ENDLIST\n",
    "key.m3u8": '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/ok"\n#EXTINF:9,\n{secret}\n',
    "list.ffconcat": "ffconcat version 1.0\nfile '{secret}'\n",
    "list.mp4": "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/ok'\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-main:2011">'
    "<Period><AdaptationSet><Representation><BaseURL>http://127.0.0.1:{port}/ok</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "call.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "subs.idx": (
        "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\ntimestamp: "
        "00:00:00:000, filepos: 000000000\n"
    ),
    "page.asx": '<asx version="3.0"><entry><ref href="http://127.0.0.1:{port}/ok"/></entry></asx>',
    "redir.mov": "rtsptext\r\nhttp://127.0.0.1:{port}/ok\r\n",
}


@pytest.mark.parametrize("name", NESTED)
def test_a_file_that_names_others_opens_none_of_them(name, outside, tmp_path):
    secret = tone_file(tmp_path / "secret.wav", 2)
    (tmp_path / name).write_text(NESTED[name].format(secret=secret, port=outside.server_port))
    with pytest.raises(MediaError) as caught: load_audio(tmp_path / name)
    assert str(caught.value).startswith(f"{name}: ") and outside.asked == []


@pytest.mark.parametrize(
    "name",
    [
        "concat:secret.wav|secret.wav",
        "http:x",
        "data:audio,x",
        "-i",
        "%d.wav",
        "subfile,,start,0,end,0,,:secret.wav",
    ],
)
def test_a_name_is_never_a_protocol(name, tmp_path):
    tone_file(tmp_path / "secret.wav", 2)
    path = tone_file(tmp_path / "one.wav", 1).rename(tmp_path / name)
    assert round(load_audio(path).duration, 2) == 1


def tone_file(path, seconds, rate=16000, codec="pcm_s16le", silent=False, layout="mono"):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        n = 16000
        for i in range(0, round(seconds * rate), n):
            x = np.zeros((1, n * (8 if layout == "7.1" else 1)), np.int16)
            if not silent: x[0] = 3000 * np.sin(np.arange(n) / 5)
            frame = av.AudioFrame.from_ndarray(x, "s16", layout)
            frame.rate, frame.pts, frame.time_base = rate, i, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def test_a_flac_bomb_ends_at_the_limit(tmp_path):
    "Half an hour of nothing in 1 % of its size; once it declares its length, once it does not, once it lies"
    path = tone_file(tmp_path / "bomb.flac", 1800, 8000, "flac", silent=True)
    data = bytearray(path.read_bytes())
    assert len(data) < 400_000 # for 28.8 MB of samples
    with pytest.raises(MediaError, match="it lasts 1800 s, over the limit media.max_seconds = 60"):
        load_audio(path, MediaSettings(max_seconds=60))
    at = data.index(b"fLaC") + 8 + 13 # 36 bits: how many samples there are
    for low in (b"\0\0\0\0\0", (8000 * 9).to_bytes(5, "big")):
        data[at] = data[at] & 0xF0
        data[at + 1:at + 5] = low[1:]
        path.write_bytes(data)
        tracemalloc.start()
        with pytest.raises(MediaError, match="over the limit media.max_seconds = 60"):
            load_audio(path, MediaSettings(max_seconds=60))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 16000 * 62 + (4 << 20) # the minute that was allowed, and a little
    data[at] |= 0x0F
    data[at + 1:at + 5] = b"\xff" * 4 # 272 years of sound
    path.write_bytes(data)
    with pytest.raises(MediaError, match="over the limit media.max_seconds"): load_audio(path)


def test_a_decoder_that_burns_a_processor_is_told_so(tmp_path, monkeypatch):
    import ecg_audio_nb.audio.media as media
    from ecg_audio_nb.core.workers import Child
    monkeypatch.setenv("PYTHONPATH", "") # the child takes this process's path
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "burning.py").write_text(textwrap.dedent("""
        def burn(request, _):
            yield {"seconds": 1}, b""
            while True: pass
    """))
    limits = {}
    def burning(target, timeout, **kept): limits.update(kept); return Child("burning:burn", 60, cpu_seconds=1)
    monkeypatch.setattr(media, "fresh", burning)
    with pytest.raises(MediaError, match="more processor time"):
        load_audio(tone_file(tmp_path / "a.wav", 1), MediaSettings(max_seconds=400))
    assert limits == {"memory_mb": 2048, "cpu_seconds": 160}


# -- YouTube, which a stand-in plays

FAKE = """
import os
class DownloadError(Exception): pass
class YoutubeDL:
    def __init__(self, options): self.options = options
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def extract_info(self, url, download):
        o, name = self.options, url.rpartition("=")[2]
        assert download and o["allowed_extractors"] == ["youtube"] and o["noplaylist"] and o.get("proxy") == ""
        if name == "private": raise DownloadError(url)
        if name == "live": return
        path = o["outtmpl"].replace("%(id)s", name).replace("%(ext)s", "m4a")
        with open(path, "wb") as file:
            for n in range(1, 4 if name == "short" else 10**6):
                file.write(bytes(1000))
                for hook in o["progress_hooks"]: hook({"downloaded_bytes": 1000 * n})
"""


@pytest.mark.parametrize(
    "video, fault",
    [
        ("short", None),
        ("long", "larger than fetch.max_bytes = 50000"),
        ("live", "YouTube gave no sound"),
        ("private", "YouTube does not give it"),
    ],
)
def test_youtube(video, fault, temp, tmp_path, monkeypatch):
    (tmp_path / "yt_dlp.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("ecg_audio_nb.core.extras.find_spec", lambda name: name)
    settings, url = service(youtube=True, max_bytes=50_000), f"https://www.youtube.com/watch?v={video}"
    if fault: assert fault in refusal(url, temp, settings)
    else:
        with open_source(url, settings, temp) as found:
            assert (found.name, len(found.path.read_bytes())) == ("short.m4a", 3000)


def test_youtube_off_or_missing(temp, monkeypatch):
    url = "https://youtu.be/x"
    assert "YouTube is off; set fetch.youtube = true" in refusal(url, temp, FetchSettings())
    monkeypatch.setattr("ecg_audio_nb.core.extras.find_spec", lambda name: None if name == "yt_dlp" else name)
    assert "pip install 'ecg-audio-nb[youtube]'" in refusal(url, temp, service(youtube=True))
