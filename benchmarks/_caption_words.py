"""Recordings of several languages and their words with times, as our own pipeline recognizes them.

The words are kept beside the results (`results/caption_words`), so that a benchmark of captions takes
seconds; `recordings(again=True)` makes them again with the packaged Whisper base (extra `offline`). Clips of
one speaker or one kind are short, so some recordings are several clips in a row, with 0.25 to 0.9 s of
silence between them, drawn from a seed that is the recording's name. A recording, with all its clips, belongs
to one part: `dev`, which the cue builder may be tuned on, or `test`.

A third part, `synthetic`, is of 22 languages that espeak-ng reads: eight sentences in a row, 0.2 s between
them, with their own text and the times that the synthesizer tells. Nothing is recognized there.
"""

import json
import random
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from _common import RESULTS, ROOT, need_data, pyannote_sample

FOLDER = RESULTS / "caption_words"
RATE = 16000
UNSPACED = ("ja", "zh", "th")  # a line may end between any two words


@dataclass(frozen=True)
class Source:
    "What a recording is made of"

    name: str
    language: str
    part: str  # dev or test
    clips: tuple[str, ...]  # below ../shared/data; several are joined


@dataclass(frozen=True)
class TimedWord:
    "A word as the recognizer wrote it"

    text: str  # with the space before it, if there is one
    start: float  # seconds
    end: float
    speaker: str | None = None
    segment: int = 0


@dataclass(frozen=True)
class Recording:
    "The words of a recording, in time order"

    name: str
    language: str
    part: str  # dev, test or synthetic
    duration: float  # seconds
    frames_per_second: float | None  # None: no picture
    words: tuple[TimedWord, ...]


def _reader(speaker: str) -> tuple[str, ...]:
    return tuple(f"librispeech/{speaker}-{n:04}.flac" for n in range(10))


def _real(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"real/{folder}/{name}" for name in names)


SOURCES = (
    # development
    Source("de-short", "de", "dev", ("real/languages/leopard_test_de.wav",)),
    Source("es-libri", "es", "dev", ("real/languages/13697_11991_000000.opus",)),
    Source("it", "it", "dev", ("real/languages/cheetah_test_it.wav",)),
    Source("ja-voice", "ja", "dev", ("real/languages/common_voice_ja_24511055.mp3",)),
    Source("zh", "zh", "dev", ("real/languages/BAC009S0002W0122.wav",)),
    Source("en-367", "en", "dev", _reader("367-130732")),
    Source("en-1688", "en", "dev", _reader("1688-142285")),
    Source("en-history", "en", "dev", _real("english", *(f"LJ001-000{n}.flac" for n in (1, 2, 3, 4)))),
    Source("en-sentences-1", "en", "dev", tuple(f"sentences/spk1_snt{n}.flac" for n in range(1, 6))),
    Source("en-sonnet", "en", "dev", ("real/hard/sonnet.wav",)),
    Source("en-katie-steve", "en", "dev", ("real/conversations/katiesteve_mono.wav",)),
    Source(
        "en-enrolment",
        "en",
        "dev",
        _real("conversations", "enrollment_audio_katie.wav", "enrollment_audio_steve.wav"),
    ),
    Source(
        "en-words-1", "en", "dev", _real("words", *(f"msajc{n}.wav" for n in ("003", "010", "012", "015")))
    ),
    Source("en-sample", "en", "dev", ("sample.mp4",)),
    *(
        Source(f"en-meeting-{name}", "en", "dev", (f"ami/{name}.flac",))
        for name in ("dev00", "dev01", "trn01")
    ),
    # test
    Source("de", "de", "test", ("real/languages/aeneas_de.mp3",)),
    Source("es", "es", "test", ("real/languages/leopard_test_es.wav",)),
    Source("fr", "fr", "test", ("real/languages/leopard_test_fr.wav",)),
    Source("ja", "ja", "test", ("real/languages/leopard_test_ja.wav",)),
    Source("ko", "ko", "test", ("real/korean/leopard_test_ko.wav",)),
    Source("pt", "pt", "test", ("real/languages/cheetah_test_pt.wav",)),
    Source("ru", "ru", "test", ("real/languages/ru.wav",)),
    Source("en-2033", "en", "test", _reader("2033-164914")),
    Source("en-2414", "en", "test", _reader("2414-128291")),
    Source("en-3005", "en", "test", _reader("3005-163389")),
    Source("en-mango", "en", "test", ("real/english/libri-1088-134315-0000.flac",)),
    Source("en-harvard", "en", "test", ("real/english/OSR_us_000_0034_8k.wav",)),
    Source("en-cold", "en", "test", ("real/english/mfa_cold_corpus.flac",)),
    Source(
        "en-short",
        "en",
        "test",
        _real("english", "cheetah_test_en.wav", "cmu_arctic_us_aew_a0001.wav", "cmu_arctic_us_aew_a0002.wav"),
    ),
    Source("en-sentences-2", "en", "test", tuple(f"sentences/spk2_snt{n}.flac" for n in range(1, 6))),
    Source("en-1961", "en", "test", ("sentences/jfk.flac",)),
    Source(
        "en-words-2", "en", "test", _real("words", "mary.wav", "bobby.wav", "carrots1.wav", "pickles.wav")
    ),
    Source("en-three", "en", "test", ("real/conversations/falcon_3spk.wav",)),
    Source("en-trailer", "en", "test", ("real/conversations/sintel_trailer-audio.ogg",)),
    Source("en-film", "en", "test", ("real/hard/sintel_clip-408p-mpeg4-mp3.mp4",)),
    Source("en-telephone", "en", "test", ("pyannote",)),
    *(
        Source(f"en-meeting-{name}", "en", "test", (f"ami/{name}.flac",))
        for name in ("trn04", "trn05", "trn08")
    ),
)


# ---- recognition


def clip_path(clip: str) -> Path | None:
    "Where a clip lies; None if it comes with a package that is not installed"
    if clip == "sample.mp4":
        return ROOT / "ecg_audio_nb/assets/sample.mp4"
    return pyannote_sample() if clip == "pyannote" else need_data(clip.split("/")[0]).parent / clip


def _joined(paths: Iterable[Path], name: str) -> np.ndarray:
    "Samples of clips in a row, mono, 16 kHz"
    from ecg_audio_nb.audio.media import load_audio

    draw, parts = random.Random(name), []
    for path in paths:
        parts += [load_audio(path).samples, np.zeros(round(draw.uniform(0.25, 0.9) * RATE), np.float32)]
    return np.concatenate(parts[:-1])


def recognize(source: Source) -> Recording | None:  # None: a clip is not there
    "Transcribe a recording with the packaged Whisper base, speakers told apart"
    from _speech import write_wav

    from ecg_audio_nb import analyze

    paths = [clip_path(clip) for clip in source.clips]
    if None in paths:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = paths[0]
        if len(paths) > 1:
            path = Path(folder) / "joined.wav"
            write_wav(path, _joined(paths, source.name))
        settings = {"engine": "whisper", "transcribe.model": "base", "runtime.device": "cpu"}
        result = analyze(path, settings, language=source.language)
    return recording_of(source, result)


def recording_of(source: Source, analysis) -> Recording:
    "Keep of a result what captions are made of"
    from ecg_audio_nb.results.cues import spoken_words

    media = analysis.metadata.media
    video = media.video if media else None
    words = [
        TimedWord(text, word.start_time, word.end_time, segment.speaker_id, segment.id)
        for segment in analysis.segments
        for text, word in spoken_words(segment)
    ]
    words.sort(key=lambda w: w.start)
    return Recording(
        source.name,
        source.language,
        source.part,
        analysis.metadata.duration,
        video.frames_per_second if video else None,
        _spaced(words, source.language),
    )


def _spaced(words, language) -> tuple[TimedWord, ...]:
    "Put a space before the first word of each segment but the first, where a language has spaces"
    if language in UNSPACED:
        return tuple(words)
    return tuple(
        replace(w, text=" " + w.text) if i and w.segment != words[i - 1].segment and w.text[0] != " " else w
        for i, w in enumerate(words)
    )


# ---- synthetic speech


def read_aloud(language: str, pause: float = 0.2) -> Recording:  # seconds between sentences
    "Eight sentences by espeak-ng; a word it tells no time of lies between its neighbours"
    from _sentences import sentences
    from _truth import espeak, joined

    rows = sentences(language)
    voice = {"pt": "pt-BR"}.get(language, language)
    passage = joined([espeak(words, language, voice) for words in rows], pause)
    texts = [[" " + word for word in words] for words in rows]
    if language in UNSPACED:  # the sentences are written with spaces and without marks
        texts = [[*words[:-1], words[-1] + "。"] for words in rows]
    numbered = [(text, number) for number, row in enumerate(texts) for text in row]
    spans = _filled(passage.times, passage.duration)
    words = [TimedWord(text, *span, "A", number) for (text, number), span in zip(numbered, spans)]
    duration = round(passage.duration, 3)
    return Recording(f"read-{language}", language, "synthetic", duration, None, tuple(words))


def _filled(times, duration):
    "Give every word a start and an end, in order"
    known = [(i, s) for i, (s, _) in enumerate(times) if s is not None]
    starts = np.interp(range(len(times)), *zip(*known))
    afters = [*starts[1:], duration]
    ends = [min(after, end or after) for (_, end), after in zip(times, afters)]
    return [(round(float(s), 3), round(float(max(s + 0.01, e)), 3)) for s, e in zip(starts, ends)]


# ---- files


def save(recording: Recording):
    "Write a recording's words, a line a word"
    facts = asdict(recording)
    rows = [json.dumps([*w.values()], ensure_ascii=False) for w in facts.pop("words")]
    text = json.dumps(facts, ensure_ascii=False, indent=1)[:-2] + ',\n "words": [\n  ' + ",\n  ".join(rows)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{recording.name}.json").write_text(text + "\n ]\n}\n", encoding="utf-8")


def load(path: Path) -> Recording:
    "Read a recording's words"
    facts = json.loads(path.read_text(encoding="utf-8"))
    words = tuple(TimedWord(*row) for row in facts.pop("words"))
    return Recording(**facts, words=words)


def recordings(again: bool = False) -> list[Recording]:
    "All recordings: the words that are kept, or those of a new recognition"
    from _sentences import LANGUAGES

    for language in LANGUAGES if again else ():
        save(read_aloud(language))
    for source in SOURCES if again else ():
        recording = recognize(source)
        if recording is None:
            print(f"{source.name}: left as it is, its clip is not installed", flush=True)
            continue
        save(recording)
        print(f"{source.name}: {len(recording.words)} words in {recording.duration:.1f} s", flush=True)
    names = [source.name for source in SOURCES] + [f"read-{language}" for language in LANGUAGES]
    return [load(FOLDER / f"{name}.json") for name in names]


def analysis_of(recording: Recording):
    "The result that a recording's words came from, without what captions do not need"
    from ecg_audio_nb.schema import Analysis, MediaInfo, Metadata, Segment, Turn, VideoInfo, Word

    segments = []
    for number in sorted({w.segment for w in recording.words}):
        own = [w for w in recording.words if w.segment == number]
        words = tuple(
            Word(w.text.strip(), w.start, w.end, speaker_id=w.speaker, timing="aligned") for w in own
        )
        text = "".join(w.text for w in own).strip()
        end = max(w.end for w in own)
        segments.append(Segment(number, own[0].start, end, speaker_id=own[0].speaker, text=text, words=words))
    rate = recording.frames_per_second
    media = MediaInfo(video=VideoInfo(frames_per_second=rate)) if rate else None
    turns = tuple(Turn(s.start_time, s.end_time, s.speaker_id) for s in segments if s.speaker_id)
    facts = Metadata(
        f"{recording.name}.wav",
        duration=recording.duration,
        language_detected=recording.language,
        language_requested=recording.language,
        media=media,
    )
    segments.sort(key=lambda s: s.start_time)
    return Analysis(tuple(segments), turns, (), facts)
