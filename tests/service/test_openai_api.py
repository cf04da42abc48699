"""OpenAI's API for speech without a running worker: what can be asked for, the forms of answers, events and
errors"""
import asyncio, json, os, time, zlib

import httpx
import pytest

from ecg_audio_nb.schema import Analysis, Metadata, Segment, Speaker, Word
from ecg_audio_nb.service import openai_formats as formats
from ecg_audio_nb.service.app import build_app
from ecg_audio_nb.service.jobs import job_settings
from ecg_audio_nb.service.limits import read_keys
from ecg_audio_nb.service.openai_api import choose_model, describe_model, model_names
from ecg_audio_nb.service.openai_formats import AudioRequest, Form, read_form
from ecg_audio_nb.service.problems import Problem
from ecg_audio_nb.service.submission import submit, to_job

KEY = "a-key-of-some-length"


# Requests

def read(task="transcribe", **fields):
    pairs = [("model", "whisper-1")]
    for name, value in fields.items():
        pairs += [(name.replace("__", "[]"), v) for v in (value if isinstance(value, list) else [value])]
    return read_form(Form(pairs), task)

def test_a_request_without_options(): assert read() == AudioRequest("whisper-1")

def test_empty_fields_are_left_out():
    assert read(language="", prompt=" ", temperature="", response_format="") == AudioRequest("whisper-1")

@pytest.mark.parametrize(
    "written, code",
    [("en", "en"), ("EN-us", "en"), ("pt_BR", "pt"), ("Korean", "ko"), ("auto", "auto"), ("yue", "yue"),
     ("haitian creole", "ht"), ("haw", "haw")],
)
def test_languages(written, code): assert read(language=written).language == code

def test_candidates_are_a_language_if_there_is_one():
    assert read(languages__=["ko"]).language == "ko" and read(languages__=["ko", "en"]).language == "auto"
    assert read(languages__=["ko"], language="en").language == "en"

def test_lists_with_and_without_brackets():
    fields = dict(response_format="verbose_json")
    assert read(timestamp_granularities__=["word", "segment", "word"], **fields).granularities == (
        "word", "segment"
    )
    assert read(timestamp_granularities=["word"], **fields).granularities == ("word",)

def test_what_reaches_the_recognizer():
    asked = read(temperature="0.4", prompt="x" * 5000 + "end", keywords__=["Alma", "Bo"])
    assert asked.recognizer["temperatures"] == [0.4] and asked.recognizer["hotwords"] == "Alma, Bo"
    prompt = asked.recognizer["initial_prompt"] # the model reads its last 223 tokens
    assert len(prompt) == 4000 and prompt.endswith("end")
    assert read(temperature="0").recognizer == {} # as the service is set
    translation = read("translate", language="ko", stream="true")
    assert (translation.recognizer, translation.language, translation.stream) == (
        {"task": "translate"}, "auto", False
    )

@pytest.mark.parametrize("written, stream", [("true", True), ("True", True), ("1", True), ("false", False)])
def test_stream(written, stream): assert read(stream=written).stream is stream

@pytest.mark.parametrize(
    "param, fields",
    [
        ("language", dict(language="english-ish")),
        ("language", dict(language="xx")),
        ("response_format", dict(response_format="xml")),
        ("temperature", dict(temperature="nan")),
        ("temperature", dict(temperature="warm")),
        ("temperature", dict(temperature="1.5")),
        ("stream", dict(stream="yes please")),
        ("stream", dict(stream="true", response_format="vtt")),
        ("timestamp_granularities", dict(timestamp_granularities__=["a"], response_format="verbose_json")),
        ("timestamp_granularities", dict(timestamp_granularities__=["word"])),
        ("known_speaker_names", dict(known_speaker_names__=["Ann"])),
        ("chunking_strategy", {"chunking_strategy[type]": "server_vad"}),
    ],
)
def test_what_is_refused(param, fields):
    with pytest.raises(Problem) as error: read(**fields)
    assert (error.value.status, error.value.param) == (400, param)

def test_what_a_translation_can_not_be():
    with pytest.raises(Problem, match="diarized_json"): read("translate", response_format="diarized_json")
    with pytest.raises(Problem, match="model"): read_form(Form([("model", " ")]), "translate")


# Answers

def talk(*texts, language="en", temperatures=(0.0,), speakers=()):
    "Segments of a second, each of one word, by A0 and B0 in turn"
    segments = []
    for n, text in enumerate(texts):
        speaker = speakers[n] if speakers else f"{'AB'[n % 2]}0"
        word = Word(text, n, n + 0.5, speaker_id=speaker)
        segments.append(Segment(n, n, n + 0.5, speaker_id=speaker, text=text, words=(word,) if text else ()))
    known = tuple(dict.fromkeys(s.speaker_id for s in segments if s.speaker_id))
    named = tuple(Speaker(speaker, name="Ann" if speaker == "Ann0" else None) for speaker in known)
    settings = {"transcribe": {"temperatures": list(temperatures)}}
    metadata = Metadata("talk.wav", duration=len(texts), language_detected=language, settings=settings)
    return Analysis(tuple(segments), (), named, metadata)

def answer(analysis, **asked):
    body, kind = formats.render(analysis, AudioRequest("whisper-1", **asked))
    return json.loads(body) if kind == "application/json" else body

@pytest.mark.parametrize(
    "language, texts, whole",
    [
        ("en", ["Yes.", "", "But why?"], "Yes. But why?"),
        ("ja", ["はい。", "なぜ?"], "はい。なぜ?"),
        ("ko", ["네.", "왜요?"], "네. 왜요?"),
        ("en", [], ""),
    ],
)
def test_parts_joined_are_the_text(language, texts, whole):
    analysis = talk(*texts, language=language)
    assert formats.whole_text(analysis) == whole == answer(analysis)["text"]
    assert answer(analysis, response_format="text") == whole + "\n"
    verbose = answer(analysis, response_format="verbose_json")
    assert "".join(s["text"] for s in verbose["segments"]) == whole
    events = list(formats.stream_events(analysis, AudioRequest("whisper-1", stream=True)))
    assert "".join(e.get("delta", "") for e in events) == whole == events[-1]["text"]

def test_what_is_not_known_is_null():
    [segment] = answer(talk("Well."), response_format="verbose_json")["segments"]
    assert segment == {
        "id": 0, "seek": None, "start": 0.0, "end": 0.5, "text": "Well.", "tokens": None, "temperature": 0.0,
        "avg_logprob": None, "compression_ratio": round(5 / len(zlib.compress(b"Well.")), 3),
        "no_speech_prob": None,
    }
    [segment] = answer(talk("Well.", temperatures=(0, 0.4)), response_format="verbose_json")["segments"]
    assert segment["temperature"] is None # the second may have been taken
    assert answer(talk("Well.", language=None), response_format="verbose_json")["language"] is None

def test_repetition_compresses():
    assert formats.compression_ratio("yes " * 100) > 10 > formats.compression_ratio("yes")

def test_a_translation_is_english():
    verbose = answer(talk("Yes.", "No.", language="ja"), task="translate", response_format="verbose_json")
    assert (verbose["task"], verbose["language"], verbose["text"]) == ("translate", "english", "Yes. No.")
    assert answer(talk("Yes.", language="ja"), task="translate") == {"text": "Yes."}

def test_speakers_are_letters_and_known_voices_have_names():
    analysis = talk("a", "b", "c", "d", "e", speakers=["S7", "Ann0", "S1", None, "S7"])
    segments = answer(analysis, response_format="diarized_json")["segments"]
    assert [s["speaker"] for s in segments] == ["A", "Ann", "B", None, "A"]
    assert [s["id"] for s in segments] == [f"seg_{n:03d}" for n in range(1, 6)]
    assert {s["type"] for s in segments} == {"transcript.text.segment"}
    many = talk(*["w"] * 28, speakers=[f"S{n}" for n in range(28)])
    assert list(formats.speaker_labels(many).values())[24:] == ["Y", "Z", "AA", "AB"]

def test_detected_languages_are_those_of_gpt_transcribe():
    body, _ = formats.render(talk("네.", language="ko"), AudioRequest("gpt-transcribe"))
    assert json.loads(body)["languages"] == [{"code": "ko"}]
    assert "languages" not in answer(talk("네.", language="ko"))


# Models

def test_names_of_models(make_service, real_whisper):
    real_whisper("base"), real_whisper("tiny.en")
    service = make_service()
    assert set(formats.ALIASES) <= set(model_names(service))
    assert choose_model(service, "whisper-1") is None # as the service is set
    for name in ("base", "whisper-base", "openai/whisper-base", "Systran/faster-whisper-base"):
        assert choose_model(service, name) == "base"
    for name in ("large-v3", "gpt-5", "", "../base", "WAV2VEC2_ASR_BASE_960H"):
        with pytest.raises(Problem) as error: choose_model(service, name)
        assert (error.value.status, error.value.openai_code) == (404, "model_not_found")

def test_a_folder_is_named_without_its_place(make_service, tmp_path):
    service = make_service()
    (tmp_path / "our-model").mkdir()
    transcribe = service.settings.transcribe.model_copy(update={"model": str(tmp_path / "our-model")})
    service.settings = service.settings.model_copy(update={"transcribe": transcribe})
    assert "our-model" in model_names(service) and choose_model(service, "our-model") is None
    (tmp_path / "our-model/model.bin").touch()
    os.utime(tmp_path / "our-model/model.bin", (1_700_000_000,) * 2)
    described = [describe_model(service, name) for name in model_names(service)]
    assert str(tmp_path) not in "".join(model.model_dump_json() for model in described)
    assert {model.created for model in described if model.id in (*formats.ALIASES, "our-model")} == {1_700_000_000}

def test_every_model_says_when_it_was_written(make_service, real_whisper):
    "Clients in other languages fail where `created` is no number"
    real_whisper("base"), real_whisper("tiny.en")
    service = make_service()
    described = {name: describe_model(service, name) for name in model_names(service)}
    assert all(1_000_000_000 < model.created < time.time() for model in described.values())
    assert (described["base"].owned_by, described["whisper-1"].owned_by) == ("Systran", "ecg_audio_nb")

def test_the_settings_of_a_job(service):
    recognizer = {"model": "base", "temperatures": [0.4], "initial_prompt": "Alma"}
    job = to_job(service, "j", "/talk.wav", "ko", recognizer=recognizer)
    set_to = job_settings(service, job).transcribe
    assert (set_to.model, set_to.temperatures, set_to.initial_prompt, set_to.language) == (
        "base", (0.4,), "Alma", "ko"
    )
    plain = to_job(service, "j", "/talk.wav", "ko")
    assert job_settings(service, plain).transcribe.initial_prompt is None
    assert job.task["digest"] != plain.task["digest"]
    del plain.task["recognizer"] # a row of an older version
    assert job_settings(service, plain).transcribe.language == "ko"


# Errors

def asked(service, *requests, keys=None):
    async def all_of_them():
        transport = httpx.ASGITransport(build_app(service, read_keys(keys)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return [await client.request(method, path, **more) for method, path, more in requests]
    return asyncio.run(all_of_them())

def upload(size=10, **fields):
    return {"files": {"file": ("a.wav", b"x" * size)}, "data": {"model": "whisper-1", **fields}}

def test_every_error_has_the_form_of_that_api(make_service):
    path, mine = "/v1/audio/transcriptions", {"authorization": f"Bearer {KEY}"}
    service = make_service(max_upload_mb=1, upload_mb_per_hour=1, requests_per_minute=20)
    answers = asked(
        service,
        ("GET", "/v1/models", {}),
        ("POST", path, upload()),
        ("GET", "/v1/chat/completions", {"headers": mine}),
        ("PUT", path, {"headers": mine}),
        ("POST", path, {"headers": mine, "json": {"model": "whisper-1"}}),
        ("POST", path, {"headers": mine, "data": {"model": "whisper-1"}}),
        ("POST", path, {"headers": mine, "files": {"file": ("a.wav", b"x")}}),
        ("POST", path, {"headers": mine, **upload(0)}),
        ("POST", path, {"headers": mine, **upload(1_100_000)}),
        ("POST", path, {"headers": mine, "content": b"x", } | {"headers": {
            **mine, "content-type": "multipart/form-data; boundary=b"}}),
        ("POST", path, {"headers": {**mine, "origin": "https://evil.example"}, **upload()}),
        *[("GET", "/v1/models", {"headers": mine})] * 16,
        keys=KEY,
    )
    seen = [(a.status_code, a.json()["error"]["param"], a.json()["error"]["code"]) for a in answers[:11]]
    assert seen == [
        (401, None, "invalid_api_key"),
        (401, None, "invalid_api_key"),
        (404, None, "unknown_url"),
        (405, None, "method_not_supported"),
        (400, "file", None),
        (400, "file", None),
        (400, "model", None),
        (400, "file", None),
        (413, None, None),
        (400, None, None),
        (403, None, None),
    ]
    last = answers[-1]
    assert (last.status_code, last.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(last.headers["retry-after"]) >= 1
    for a in answers:
        if a.status_code >= 400:
            assert a.headers["content-type"] == "application/json"
            assert set(a.json()) == {"error"}
            assert set(a.json()["error"]) == {"message", "type", "param", "code"}
    assert not list(service.uploads.iterdir())

def test_under_a_path_prefix(make_service):
    answers = asked(
        make_service(root_path="/ecg"), ("GET", "/ecg/v1/models", {}), ("GET", "/ecg/v1/models/gpt-5", {}),
        ("GET", "/ecg/jobs/v1", {}),
    )
    assert [a.status_code for a in answers] == [200, 404, 404]
    assert answers[1].json()["error"]["code"] == "model_not_found"
    assert answers[2].headers["content-type"] == "application/problem+json"

def test_the_page_for_people_shows_it(service):
    [answer] = asked(service, ("GET", "/docs", {}))
    assert "/v1/audio/transcriptions" in answer.text and "timestamp_granularities[]=word" in answer.text

def test_no_room(make_service):
    service = make_service(max_queued=1)
    submit(service, [to_job(service, "first", "/talk.wav")])
    [answer] = asked(service, ("POST", "/v1/audio/translations", upload()))
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "service_unavailable_error")
    assert int(answer.headers["retry-after"]) > 0 and not list(service.uploads.iterdir())

def test_speakers_that_the_service_does_not_tell_apart(service):
    diarize = service.settings.diarize.model_copy(update={"enabled": False})
    service.settings = service.settings.model_copy(update={"diarize": diarize})
    [answer] = asked(service, ("POST", "/v1/audio/transcriptions", upload(response_format="diarized_json")))
    assert answer.status_code == 400 and "diarize.enabled = false" in answer.json()["error"]["message"]

def test_the_description_has_the_forms(service):
    [answer] = asked(service, ("GET", "/openapi.json", {}))
    described = answer.json()
    post = described["paths"]["/v1/audio/transcriptions"]["post"]
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "model"] and "timestamp_granularities[]" in form["properties"]
    assert set(post["responses"]["200"]["content"]) == {"application/json", "text/plain", "text/event-stream"}
    error = post["responses"]["400"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/ErrorAnswer"}
    schemas = described["components"]["schemas"]
    assert {"VerboseTranscription", "DiarizedTranscription", "ErrorAnswer"} <= set(schemas)
