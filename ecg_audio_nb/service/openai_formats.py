"""OpenAI's API for speech: what a request may ask for, and the forms of answers and events

| `response_format` | the answer |
| --- | --- |
| `json` (the default) | the text |
| `text` | the text, as it is |
| `srt`, `vtt` | captions, as `ecg export` writes them |
| `verbose_json` | language, duration, segments, words: by `timestamp_granularities[]` |
| `diarized_json` | segments, each with its speaker |

With `stream=true`, `json`, `text` and `diarized_json` come as server-sent events. A number that OpenAI's API
has and this recognizer does not tell for a segment is null: `seek`, `tokens`, `avg_logprob`,
`no_speech_prob`. The compression ratio is that of the segment's text.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Literal

from pydantic import BaseModel, Field

from ecg_audio_nb.core.text import spaces_before
from ecg_audio_nb.results.subtitles import to_srt, to_vtt
from ecg_audio_nb.schema import Analysis, Segment
from ecg_audio_nb.service.problems import Problem

RESPONSE_FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
STREAMED_FORMATS = ("json", "text", "diarized_json")
GRANULARITIES = ("word", "segment")
ALIASES = (  # of the configured model: the names that OpenAI's models have
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)
_MAX_TEXT = 4000  # characters of a prompt that are kept, the last ones: the model reads its last 223 tokens

LANGUAGE_NAMES = dict(  # Whisper's languages, as its authors call them
    pair.split(":")
    for pair in """en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese
    pt:portuguese tr:turkish pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian id:indonesian
    hi:hindi fi:finnish vi:vietnamese he:hebrew uk:ukrainian el:greek ms:malay cs:czech ro:romanian
    da:danish hu:hungarian ta:tamil no:norwegian th:thai ur:urdu hr:croatian bg:bulgarian lt:lithuanian
    la:latin mi:maori ml:malayalam cy:welsh sk:slovak te:telugu fa:persian lv:latvian bn:bengali
    sr:serbian az:azerbaijani sl:slovenian kn:kannada et:estonian mk:macedonian br:breton eu:basque
    is:icelandic hy:armenian ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian sw:swahili
    gl:galician mr:marathi pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba so:somali af:afrikaans
    oc:occitan ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic yi:yiddish lo:lao
    uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit
    lb:luxembourgish my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar haw:hawaiian
    ln:lingala ha:hausa ba:bashkir jw:javanese su:sundanese yue:cantonese""".split()
)
LANGUAGE_NAMES["ht"] = "haitian creole"
_CODES_BY_NAME = {name: code for code, name in LANGUAGE_NAMES.items()}


# Requests


@dataclass(frozen=True)
class AudioRequest:
    "What a request asks for, beside its file"

    model: str
    language: str = "auto"
    task: Literal["transcribe", "translate"] = "transcribe"
    response_format: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    stream: bool = False
    recognizer: dict = field(default_factory=dict)  # settings `transcribe.` that differ from the service's


def bad_request(param: str, detail: str, code: str | None = None) -> Problem:
    "Make the answer to a field that is missing or can't be fulfilled (400)"
    return Problem(400, detail, "INVALID_REQUEST", param=param, openai_code=code)


class Form:
    "The fields of a form; lists may be sent as `name` or `name[]`"

    def __init__(self, pairs: list[tuple[str, object]]):
        self.pairs = [(name, value) for name, value in pairs if isinstance(value, str)]

    def all(self, name: str) -> list[str]:
        "Every value of a field that is not empty"
        return [value for key, value in self.pairs if key in (name, f"{name}[]") and value.strip()]

    def one(self, name: str) -> str | None:
        "The last value of a field, or None"
        return next(reversed(self.all(name)), None)

    def has(self, name: str) -> bool:
        "Whether a field, or a part of it (`name[part]`), was sent"
        return any(key == name or key.startswith(f"{name}[") for key, _ in self.pairs)


def read_form(
    form: Form,
    task: str,  # transcribe or translate
) -> AudioRequest:
    "Read the fields of a request; raises `Problem`"
    model = form.one("model")
    if model is None:
        raise bad_request("model", "you must provide a model parameter; GET /v1/models lists the names")
    _refuse_unsupported(form)
    formats = RESPONSE_FORMATS if task == "transcribe" else RESPONSE_FORMATS[:-1]
    response_format = _choice(form, "response_format", formats, "json")
    stream = task == "transcribe" and _choice(form, "stream", ("true", "false"), "false") == "true"
    if stream and response_format not in STREAMED_FORMATS:
        raise bad_request(
            "stream",
            f"stream=true sends text and segments, not {response_format}; use response_format = "
            f"{', '.join(STREAMED_FORMATS)}, or leave stream out",
        )
    return AudioRequest(
        model,
        _language(form) if task == "transcribe" else "auto",
        task,
        response_format,
        _granularities(form, response_format),
        stream,
        _recognizer_settings(form, task),
    )


def _choice(form: Form, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = form.one(name)
    if value is None:
        return default
    chosen = {"1": "true", "0": "false"}.get(value, value) if "true" in allowed else value
    chosen = chosen.strip().lower()
    if chosen not in allowed:
        raise bad_request(name, f"{name} = {value[:40]!r}: use one of {', '.join(allowed)}")
    return chosen


_UNSUPPORTED = {
    "include": "the recognizer tells no log-probabilities of tokens; leave include out",
    "known_speaker_names": "voices are named by the service's setting diarize.voices; leave this field out",
    "known_speaker_references": "voices are named by the service's setting diarize.voices; leave this out",
}


def _refuse_unsupported(form: Form) -> None:
    for name, reason in _UNSUPPORTED.items():
        if form.all(name):
            raise bad_request(name, f"{name} is not supported: {reason}", "unsupported_parameter")
    if form.has("chunking_strategy") and form.one("chunking_strategy") != "auto":
        detail = "chunking_strategy: only auto is supported, speech is always found in the recording"
        raise bad_request("chunking_strategy", detail, "unsupported_parameter")


def _language(form: Form) -> str:
    "A code that the recognizer knows, or auto; several candidates are no choice"
    written = form.one("language")
    if written is None:
        candidates = form.all("languages")
        written = candidates[0] if len(candidates) == 1 else "auto"
    name = written.strip().lower()
    if name == "auto":
        return "auto"
    code = _CODES_BY_NAME.get(name, name.replace("_", "-").partition("-")[0])
    if code not in LANGUAGE_NAMES:
        detail = f"Invalid language {written[:40]!r}: write a code of ISO 639-1 such as en or ko"
        raise bad_request("language", detail, "invalid_language_format")
    return code


def _granularities(form: Form, response_format: str) -> tuple[str, ...]:
    asked = form.all("timestamp_granularities")
    for name in asked:
        if name not in GRANULARITIES:
            detail = f"timestamp_granularities = {name[:40]!r}: use word, segment or both"
            raise bad_request("timestamp_granularities", detail)
    if asked and response_format != "verbose_json":
        detail = "timestamp_granularities needs response_format = verbose_json"
        raise bad_request("timestamp_granularities", detail)
    return tuple(dict.fromkeys(asked)) or ("segment",)


def _recognizer_settings(form: Form, task: str) -> dict:
    "Settings of the stage `transcribe`, JSON-ready"
    settings = {} if task == "transcribe" else {"task": "translate"}
    temperature = form.one("temperature")
    if temperature is not None and (number := _temperature(temperature)):
        settings["temperatures"] = [number]
    if prompt := form.one("prompt"):
        settings["initial_prompt"] = prompt[-_MAX_TEXT:]
    if keywords := form.all("keywords"):
        settings["hotwords"] = ", ".join(keywords)[:_MAX_TEXT]
    return settings


def _temperature(written: str) -> float:
    try:
        number = float(written)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise bad_request("temperature", f"temperature = {written[:40]!r}: use a number from 0 to 1")
    return number


# Answers


class Usage(BaseModel):
    "What was analyzed"

    type: Literal["duration"] = "duration"
    seconds: float = Field(description="of the recording")


class Language(BaseModel):
    "A language of the recording"

    code: str


class Transcription(BaseModel):
    "The answer in the format json"

    text: str
    languages: list[Language] | None = Field(None, description="detected; of the model gpt-transcribe")
    usage: Usage | None = None


class TimedWord(BaseModel):
    "A word with its times"

    word: str
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")


class TimedSegment(BaseModel):
    "A segment with its times; what is not known is null"

    id: int
    seek: int | None
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")
    text: str
    tokens: list[int] | None
    temperature: float | None
    avg_logprob: float | None
    compression_ratio: float | None = Field(description="of the text, in UTF-8, by zlib")
    no_speech_prob: float | None


class VerboseTranscription(BaseModel):
    "The answer in the format verbose_json"

    task: Literal["transcribe", "translate"]
    language: str | None = Field(description="in English, such as korean; null: not known")
    duration: float = Field(description="seconds")
    text: str
    segments: list[TimedSegment] | None = None
    words: list[TimedWord] | None = None
    usage: Usage | None = None


class SpeakerSegment(BaseModel):
    "A segment with its speaker"

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float = Field(description="seconds")
    end: float = Field(description="seconds")
    speaker: str | None = Field(description="A, B and so on, or the name of a known voice; null: not known")
    text: str


class DiarizedTranscription(BaseModel):
    "The answer in the format diarized_json"

    task: Literal["transcribe"] = "transcribe"
    duration: float = Field(description="seconds")
    text: str
    segments: list[SpeakerSegment]
    usage: Usage


class Model(BaseModel):
    "A name that `model` may have"

    id: str
    object: Literal["model"] = "model"
    created: int | None = Field(description="when its files were written here, seconds since 1970")
    owned_by: str


class ModelList(BaseModel):
    "The names that `model` may have"

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(BaseModel):
    "What is wrong, and the way out"

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    "An error"

    error: ErrorDetail


def _spoken(analysis: Analysis) -> list[Segment]:
    return [segment for segment in analysis.segments if segment.text]


def _language_of(analysis: Analysis, task: str) -> str | None:
    "The code of the text's language"
    return "en" if task == "translate" else analysis.metadata.language_detected


def text_parts(
    analysis: Analysis,
    task: str = "transcribe",  # or translate
) -> list[str]:  # of each segment with text, with the space before it; joined they are the text
    "Split the text at its segments"
    texts = [segment.text for segment in _spoken(analysis)]
    spaces = spaces_before(texts, _language_of(analysis, task))
    return [space + text for space, text in zip(spaces, texts)]


def whole_text(
    analysis: Analysis,
    task: str = "transcribe",  # or translate
) -> str:
    "Return the text on one line"
    return "".join(text_parts(analysis, task))


def _usage(analysis: Analysis) -> Usage:
    return Usage(seconds=analysis.metadata.duration)


def compression_ratio(text: str) -> float | None:
    "Tell how much shorter zlib makes a text, as Whisper measures it; None for an empty one"
    data = text.encode("utf-8")
    return round(len(data) / len(zlib.compress(data)), 3) if data else None


def _temperature_of(analysis: Analysis) -> float | None:
    "The temperature of every segment; None where it may differ from one to the next"
    tried = analysis.metadata.settings.get("transcribe", {}).get("temperatures") or [0.0]
    return tried[0] if len(tried) == 1 else None


def _timed_segments(analysis: Analysis, task: str) -> list[TimedSegment]:
    temperature = _temperature_of(analysis)
    return [
        TimedSegment(
            id=number,
            seek=None,
            start=segment.start_time,
            end=segment.end_time,
            text=text,
            tokens=None,
            temperature=temperature,
            avg_logprob=None,
            compression_ratio=compression_ratio(segment.text),
            no_speech_prob=None,
        )
        for number, (segment, text) in enumerate(zip(_spoken(analysis), text_parts(analysis, task)))
    ]


def _timed_words(analysis: Analysis) -> list[TimedWord]:
    words = (word for word in analysis.words if word.kind == "word")
    return [TimedWord(word=word.word, start=word.start_time, end=word.end_time) for word in words]


def _verbose(analysis: Analysis, asked: AudioRequest) -> VerboseTranscription:
    code = _language_of(analysis, asked.task)
    answer = {
        "task": asked.task,
        "language": LANGUAGE_NAMES.get(code, code),
        "duration": analysis.metadata.duration,
        "text": whole_text(analysis, asked.task),
    }
    if "segment" in asked.granularities:
        answer["segments"] = _timed_segments(analysis, asked.task)
    if "word" in asked.granularities:
        answer["words"] = _timed_words(analysis)
    if asked.task == "transcribe":
        answer["usage"] = _usage(analysis)
    return VerboseTranscription(**answer)


def _letters(number: int) -> str:  # 0 -> A, 25 -> Z, 26 -> AA
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = ascii_uppercase[rest] + letters
    return letters


def speaker_labels(analysis: Analysis) -> dict[str, str]:  # by speaker id
    "Label the speakers: the names of known voices; the others A, B, C in the order in which they speak"
    names = {speaker.speaker_id: speaker.name for speaker in analysis.speakers if speaker.name}
    labels = {}
    for segment in _spoken(analysis):
        if segment.speaker_id is None or segment.speaker_id in labels:
            continue
        unnamed = len(labels.keys() - names.keys())
        labels[segment.speaker_id] = names.get(segment.speaker_id) or _letters(unnamed)
    return labels


def speaker_segments(analysis: Analysis) -> list[SpeakerSegment]:
    "Return the segments with their speakers"
    labels = speaker_labels(analysis)
    return [
        SpeakerSegment(
            id=f"seg_{number:03d}",
            start=segment.start_time,
            end=segment.end_time,
            speaker=labels.get(segment.speaker_id),
            text=segment.text,
        )
        for number, segment in enumerate(_spoken(analysis), 1)
    ]


def _plain(analysis: Analysis, asked: AudioRequest) -> Transcription:
    answer = {"text": whole_text(analysis, asked.task)}
    if asked.task == "transcribe":
        answer["usage"] = _usage(analysis)
    if asked.model == "gpt-transcribe":
        code = analysis.metadata.language_detected
        answer["languages"] = [Language(code=code)] if code else []
    return Transcription(**answer)


def _diarized(analysis: Analysis) -> DiarizedTranscription:
    return DiarizedTranscription(
        duration=analysis.metadata.duration,
        text=whole_text(analysis),
        segments=speaker_segments(analysis),
        usage=_usage(analysis),
    )


_OPTIONAL = ("languages", "segments", "usage", "words")  # left out where they are not part of the answer


def render(
    analysis: Analysis,
    asked: AudioRequest,
) -> tuple[str, str]:  # the body and its media type
    "Write a result in the format that was asked for"
    if asked.response_format == "srt":
        return to_srt(analysis), "text/plain"
    if asked.response_format == "vtt":
        return to_vtt(analysis), "text/plain"
    if asked.response_format == "text":
        return whole_text(analysis, asked.task) + "\n", "text/plain"
    if asked.response_format == "verbose_json":
        answer = _verbose(analysis, asked)
    elif asked.response_format == "diarized_json":
        answer = _diarized(analysis)
    else:
        answer = _plain(analysis, asked)
    absent = {name for name in _OPTIONAL if getattr(answer, name, None) is None}
    return answer.model_dump_json(exclude=absent), "application/json"


# Events


def stream_events(
    analysis: Analysis,
    asked: AudioRequest,
) -> Iterator[Mapping]:  # JSON-ready; the deltas joined are the text
    "Split a result into the events of a stream"
    diarized = asked.response_format == "diarized_json"
    for part, segment in zip(text_parts(analysis), speaker_segments(analysis)):
        delta = {"type": "transcript.text.delta", "delta": part}
        yield {**delta, "segment_id": segment.id} if diarized else delta
        if diarized:
            yield segment.model_dump()
    done = {"type": "transcript.text.done", "text": whole_text(analysis)}
    if asked.model == "gpt-transcribe":
        code = analysis.metadata.language_detected
        done["languages"] = [{"code": code}] if code else []
    yield done
