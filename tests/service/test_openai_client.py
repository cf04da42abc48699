"""The official Python client of OpenAI's API, as it is, against a running service: speech in every format and
as a stream, with the same text as the service's own API gives; and the requests of two more programs"""
import asyncio, threading
from itertools import groupby

import httpx
import openai
import pytest
import soundfile
import uvicorn
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
)

from backend import Quick, free_port, until
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.batch.queue import list_jobs
from ecg_audio_nb.schema import from_dict
from ecg_audio_nb.service import openai_api
from ecg_audio_nb.service.app import build_app

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the client's, about names such as whisper-1
]
KEY = "a-key-of-some-length"


@pytest.fixture(scope="module")
def media(tmp_path_factory, sample):
    "Ten seconds of the sample, in which two people talk"
    folder, audio = tmp_path_factory.mktemp("media"), load_audio(sample)
    soundfile.write(folder / "talk.wav", audio.cut(0, 10).samples, audio.sample_rate)
    return folder

@pytest.fixture(scope="module")
def served(tmp_path_factory, media):
    # one recording in many formats: stages that have run are not run again
    options = "--set", "runtime.checkpoints=true"
    s = Quick(tmp_path_factory.mktemp("served"), media, *options, ECG_API_KEYS=f"client={KEY}").start()
    s.http.headers["authorization"] = f"Bearer {KEY}"
    until(lambda: s.http.get("/ready").status_code == 200)
    yield s
    assert s.stop() == 0
    assert not [line for line in s.lines() if line["message"].startswith("unexpected")]

@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{served.port}/v1", api_key=KEY, max_retries=0, timeout=900
    ) as c: yield c

@pytest.fixture(scope="module")
def native(served, media):
    "What the service's own API makes of the talk"
    job = served.post("native", media / "talk.wav").json()["job_id"]
    until(lambda: served.state(job) == "completed")
    return from_dict(served.http.get(f"/jobs/{job}/result").json())

@pytest.fixture(scope="module")
def text(native):
    "The same as one line"
    line = " ".join(s.text for s in native.segments)
    assert "good morning" in line.lower() and len(line.split()) > 20
    return line

def transcribe(client, media, model="whisper-1", **more):
    with open(media / "talk.wav", "rb") as file:
        return client.audio.transcriptions.create(file=file, model=model, **more)


# Formats

def test_json(client, media, text, native):
    answer = transcribe(client, media)
    assert isinstance(answer, Transcription) and answer.text == text
    assert (answer.usage.type, answer.usage.seconds) == ("duration", native.metadata.duration)

def test_text(client, media, text): assert transcribe(client, media, response_format="text") == text + "\n"

def test_captions_are_those_of_an_export(client, media, native):
    assert transcribe(client, media, response_format="srt") == native.to_srt()
    assert transcribe(client, media, response_format="vtt") == native.to_vtt()

def test_verbose_json_with_segments_and_words(client, media, text, native):
    answer = transcribe(
        client, media, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert isinstance(answer, TranscriptionVerbose)
    assert (answer.text, answer.language, answer.duration) == (text, "english", 10.0)
    assert "".join(s.text for s in answer.segments) == text
    assert [(s.id, s.start, s.end) for s in answer.segments] == [
        (n, s.start_time, s.end_time) for n, s in enumerate(native.segments)
    ]
    words = [(w.word, w.start_time, w.end_time) for w in native.words if w.kind == "word"]
    assert [(w.word, w.start, w.end) for w in answer.words] == words and len(words) > 20
    assert answer.segments[0].temperature == 0 and answer.segments[0].compression_ratio > 0.5
    assert (answer.segments[0].avg_logprob, answer.segments[0].tokens) == (None, None) # not made up

def test_granularities_choose_what_comes(client, media):
    answer = transcribe(client, media, response_format="verbose_json")
    assert answer.segments and answer.words is None
    answer = transcribe(client, media, response_format="verbose_json", timestamp_granularities=["word"])
    assert answer.words and answer.segments is None

def test_diarized_json(client, media, text, native):
    answer = transcribe(client, media, "gpt-4o-transcribe-diarize", response_format="diarized_json",
                        chunking_strategy="auto")
    assert isinstance(answer, TranscriptionDiarized) and answer.text == text
    assert [(s.start, s.end, s.text) for s in answer.segments] == [
        (s.start_time, s.end_time, s.text) for s in native.segments
    ]
    pairs = {(s.speaker, n.speaker_id) for s, n in zip(answer.segments, native.segments)}
    assert {a for a, _ in pairs} == {"A", "B"} and len(pairs) == 2 == len({b for _, b in pairs})
    assert answer.segments[0].speaker == "A"


# Streams

def test_stream_of_text(client, media, text):
    events = list(transcribe(client, media, "gpt-4o-transcribe", stream=True))
    *deltas, done = events
    assert isinstance(done, TranscriptionTextDoneEvent) and done.text == text
    assert len(deltas) > 1 and all(isinstance(e, TranscriptionTextDeltaEvent) for e in deltas)
    assert "".join(e.delta for e in deltas) == text

def test_stream_of_speakers(client, media, text, native):
    events = list(transcribe(client, media, stream=True, response_format="diarized_json"))
    segments = [e for e in events if isinstance(e, TranscriptionTextSegmentEvent)]
    assert [s.text for s in segments] == [s.text for s in native.segments]
    assert [key for key, _ in groupby(s.speaker for s in segments)] == ["A", "B", "A"]
    deltas = [e for e in events if isinstance(e, TranscriptionTextDeltaEvent)]
    assert [d.segment_id for d in deltas] == [s.id for s in segments]
    assert "".join(d.delta for d in deltas) == text == events[-1].text

def test_stream_of_the_asynchronous_client(served, media, text):
    async def deltas():
        async with openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{served.port}/v1", api_key=KEY, timeout=900
        ) as c:
            stream = await c.audio.transcriptions.create(
                file=(media / "talk.wav").read_bytes(), model="gpt-4o-mini-transcribe", stream=True
            )
            return [e.delta async for e in stream if e.type == "transcript.text.delta"]
    assert "".join(asyncio.run(deltas())) == text


# Options

def settings_of(served, answer):
    "How the recognizer was set for an answer with its headers"
    job = answer.headers["x-request-id"]
    return served.http.get(f"/jobs/{job}/result").json()["metadata"]["settings"]["transcribe"]

def test_options_reach_the_recognizer(served, client, media):
    with open(media / "talk.wav", "rb") as file:
        answer = client.audio.transcriptions.with_raw_response.create(
            file=file, model="tiny.en", language="en-US", prompt="Alma, captions", temperature=0.2,
            extra_body={"keywords": ["recording"]},
        )
    set_to = settings_of(served, answer)
    assert (set_to["model"], set_to["language"], set_to["task"]) == ("tiny.en", "en", "transcribe")
    assert (set_to["initial_prompt"], set_to["hotwords"]) == ("Alma, captions", "recording")
    assert set_to["temperatures"] == [0.2]
    assert "recording" in answer.parse().text

def test_translation_is_english(served, client, shared_data):
    with open(shared_data / "real/languages/leopard_test_de.wav", "rb") as file:
        answer = client.audio.translations.with_raw_response.create(
            file=file, model="whisper-1", response_format="verbose_json"
        )
    assert settings_of(served, answer)["task"] == "translate"
    said = answer.parse()
    assert said.language == "english" and said.segments[0].text == said.text
    assert {"the", "was"} <= set(said.text.lower().split()) # Der hinter diesem Portal liegende Raum wurde ...

def test_a_speech_of_1961(served, client, shared_data):
    with open(shared_data / "sentences/jfk.flac", "rb") as file:
        native = served.http.post("/transcribe", files={"file": ("jfk.flac", file)}).json()
    with open(shared_data / "sentences/jfk.flac", "rb") as file:
        answer = client.audio.transcriptions.create(
            file=file, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
        )
    assert "ask not what your country can do for you" in answer.text.lower()
    spoken = [w for s in native["segments"] for w in s["words"] if w["kind"] == "word"]
    assert answer.text == " ".join(w["word"] for w in spoken)
    assert [(w.word, w.start) for w in answer.words] == [(w["word"], w["start_time"]) for w in spoken]

def test_another_language_is_detected_and_named(client, shared_data):
    with open(shared_data / "real/languages/leopard_test_ja.wav", "rb") as file:
        answer = client.audio.transcriptions.create(
            file=file, model="gpt-4o-transcribe", response_format="verbose_json"
        )
    assert answer.language == "japanese" and "の" in answer.text and " " not in answer.text

def test_models(client):
    names = [m.id for m in client.models.list()]
    assert {"whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize", "base", "tiny.en"} <= set(names)
    assert len(names) == len(set(names)) and "large-v3" not in names # not at hand
    base = client.models.retrieve("base")
    assert (base.id, base.object, base.owned_by) == ("base", "model", "Systran")
    with pytest.raises(openai.NotFoundError): client.models.retrieve("gpt-5")


# Errors

@pytest.mark.parametrize(
    "status, param, code, options",
    [
        (404, "model", "model_not_found", dict(model="whisper-9")),
        (404, "model", "model_not_found", dict(model="large-v3")),
        (400, "language", "invalid_language_format", dict(language="klingon")),
        (400, "model", None, dict(model="tiny.en", language="ko")),
        (400, "response_format", None, dict(response_format="docx")),
        (400, "temperature", None, dict(temperature=7)),
        (400, "timestamp_granularities", None, dict(timestamp_granularities=["word"])),
        (400, "stream", None, dict(stream=True, response_format="srt")),
        (400, "include", "unsupported_parameter", dict(include=["logprobs"])),
        (400, "chunking_strategy", "unsupported_parameter", dict(chunking_strategy={"type": "server_vad"})),
    ],
)
def test_what_cannot_be_asked_for(client, media, status, param, code, options):
    with pytest.raises(openai.APIStatusError) as error: transcribe(client, media, **options)
    e = error.value
    assert (e.status_code, e.param, e.code, e.type) == (status, param, code, "invalid_request_error")
    assert set(e.body) == {"message", "type", "param", "code"} and len(e.body["message"]) > 20

def test_what_is_no_recording(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.transcriptions.create(file=("a.wav", b"no sound at all"), model="whisper-1")
    assert error.value.param == "file" and "a.wav" in str(error.value) and error.value.request_id

def test_a_model_that_cannot_translate(client, media):
    with pytest.raises(openai.BadRequestError, match="can't translate. Models at hand that can: base"):
        with open(media / "talk.wav", "rb") as file:
            client.audio.translations.create(file=file, model="tiny.en")

def test_a_key_is_needed(served, client, media):
    with pytest.raises(openai.AuthenticationError) as error:
        transcribe(client.with_options(api_key="a-wrong-key-of-length"), media)
    assert error.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError): client.with_options(api_key="guessed").models.list()

@pytest.fixture
def without_worker(make_service, monkeypatch):
    "A service whose jobs wait for ever, and whose streams begin at once"
    monkeypatch.setattr(openai_api, "_QUIET", 0.05)
    monkeypatch.setattr(openai_api, "_KEEP_ALIVE", 0.1)
    service = make_service()
    config = uvicorn.Config(build_app(service), port=free_port(), lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{config.port}", service
    server.should_exit = True
    thread.join(60)

@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_comes_back_attaches_to_its_job(without_worker, media, stream):
    url, service = without_worker
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=1, timeout=1) as c:
        if stream:
            first, again = (transcribe(c, media, stream=True) for _ in range(2))
            ids = {s.response.headers["x-request-id"] for s in (first, again)}
            first.close(), again.close()
            assert ids == {job.id for job in list_jobs(service.queue)}
        else: # the client itself tries again
            with pytest.raises(openai.APITimeoutError): transcribe(c, media)
    assert [job.state for job in list_jobs(service.queue)] == ["queued"] # goes on, once
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as c:
        transcribe(c, media, language="ko", stream=True).close() # other work
    assert len(list_jobs(service.queue)) == 2

def test_a_stream_is_kept_alive_and_ends_with_an_error(without_worker, media):
    url, _ = without_worker
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as c:
        stream = transcribe(c, media, stream=True)
        received = []
        def pieces(of=stream.response.iter_bytes):
            for piece in of():
                received.append(piece)
                # it was waiting, with comments: now its job ends
                if len(received) == 3: httpx.delete(f"{url}/jobs/{job}").raise_for_status()
                yield piece
        job, stream.response.iter_bytes = stream.response.headers["x-request-id"], pieces
        with pytest.raises(openai.APIError, match="cancelled") as error: list(stream)
    assert received[:3] == [b": still at work\n\n"] * 3
    assert set(error.value.body) == {"message", "type", "param", "code"}


# Requests of other programs

def test_request_of_open_webui(served, media, text):
    """As transcription_handler of open-webui/backend/open_webui/routers/audio.py sends it: requests.post with
    the file's name alone, the language of the browser if there is one, and once more without it if that
    fails"""
    for language in ("en", None):
        answer = httpx.post(
            f"http://127.0.0.1:{served.port}/v1/audio/transcriptions",
            headers={"Authorization": f"Bearer {KEY}", "X-OpenWebUI-User-Name": "Ann"},
            files={"file": ("2f1c1c1e-8d5f-4a7e-b0a4-6f2b4a1d9c11.wav", (media / "talk.wav").read_bytes())},
            data={"model": "whisper-1"} | ({"language": language} if language else {}),
            timeout=900,
            trust_env=False,
        )
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        assert answer.json()["text"] == text

def test_request_of_livekit(served, media, text):
    """As STT._recognize_impl of livekit-plugins-openai 1.8 sends it: the asynchronous client without retries,
    a WAV in memory, verbose_json for whisper-1; for gpt-transcribe json, with languages and keywords"""
    wav = ("file.wav", (media / "talk.wav").read_bytes(), "audio/wav")
    async def recognize(**options):
        async with openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{served.port}/v1", api_key=KEY, max_retries=0
        ) as c:
            return await c.audio.transcriptions.create(file=wav, timeout=900, **options)
    said = asyncio.run(recognize(
        model="whisper-1", language="en", prompt=openai.NOT_GIVEN, response_format="verbose_json",
        temperature=0,
    ))
    assert (said.text, said.language) == (text, "english")
    said = asyncio.run(recognize(
        model="gpt-transcribe", response_format="json",
        extra_body={"languages": ["en", "ko"], "keywords": ["captions"]},
    ))
    assert "captions" in said.text and said.to_dict()["languages"] == [{"code": "en"}]
