"""SubRip texts of the same words: ours, WhisperX's and stable-ts's.

The peers get our result's segments, words and times. WhisperX gets no speakers: it would write their names
into every cue and be judged by longer lines.
"""

import io
from collections.abc import Callable

from _caption_rules import limits_of
from _caption_words import UNSPACED, Recording, analysis_of
from _peers import quiet

Writer = Callable[[Recording], str]  # SubRip text

INSTALL = {
    "whisperx": "pip install 'ecg-audio-nb[whisperx]'",
    "stable_whisper": "pip install --no-deps stable-ts openai-whisper && pip install more-itertools tiktoken",
}


def ours(recording: Recording, style: str = "netflix") -> str:
    "One of our presets"
    from ecg_audio_nb.results.export import to_srt

    return to_srt(analysis_of(recording), style=style)


def our_writers() -> dict[str, Writer]:
    "The preset that is measured, and the one that is written if none is asked for"
    return {"netflix": ours, "plain": lambda r: ours(r, "plain")}


def _segments(recording, first_space=""):
    "Our segments as Whisper's programs exchange them"
    segments = []
    for number in dict.fromkeys(w.segment for w in recording.words):
        own = [w for w in recording.words if w.segment == number]
        words = [{"word": w.text, "start": w.start, "end": w.end} for w in own]
        words[0]["word"] = first_space + words[0]["word"].lstrip()
        text, end = "".join(w["word"] for w in words), max(w.end for w in own)
        segments.append({"start": own[0].start, "end": end, "text": text, "words": words})
    return sorted(segments, key=lambda s: s["start"])


# ---- WhisperX


def _whisperx(recording, width=None, count=None):
    "Its writer for SubRip; width and count are its options max_line_width and max_line_count"
    from whisperx.utils import WriteSRT

    segments = _segments(recording)
    for segment in segments:
        for word in segment["words"]:
            word["word"] = word["word"].strip()
    out = io.StringIO()
    options = {"max_line_width": width, "max_line_count": count, "highlight_words": False}
    WriteSRT("").write_result({"segments": segments, "language": recording.language}, out, options)
    return out.getvalue()


def _processor(recording):
    "Its other writer, SubtitlesProcessor"
    from whisperx.SubtitlesProcessor import SubtitlesProcessor, format_timestamp

    segments = _segments(recording)
    for segment in segments:
        for word in segment["words"]:
            word["word"] = word["word"].strip()
    rows = SubtitlesProcessor(segments, recording.language).process_segments()
    cues = [
        f"{i}\n{format_timestamp(r['start'])} --> {format_timestamp(r['end'])}\n{r['text'].strip()}\n"
        for i, r in enumerate(rows, 1)
    ]
    return "\n".join(cues)


def whisperx_writers() -> dict[str, Writer]:
    "WhisperX with its defaults and fitted to the language's line length"
    with quiet():
        import whisperx.utils  # noqa: F401  is it there?
    return {
        "default": _whisperx,
        "max_line_width, max_line_count=2": lambda r: _whisperx(r, limits_of(r.language).columns, 2),
        "max_line_width, max_line_count=1": lambda r: _whisperx(r, limits_of(r.language).columns, 1),
        "SubtitlesProcessor": _processor,
    }


# ---- stable-ts


def _stable(recording, fit=None):
    "Its default grouping; `fit` changes the result before it is written, and returns options of the writer"
    from stable_whisper import WhisperResult

    space = "" if recording.language in UNSPACED else " "
    with quiet():
        result = WhisperResult({"language": recording.language, "segments": _segments(recording, space)})
        result.regroup()
        options = fit(result, recording) if fit else {}
        return result.to_srt_vtt(filepath=None, word_level=False, vtt=False, **options)


def _fitted(result, recording):
    "Two lines of the language's length, 7 s, and cues that are too short joined with their neighbours"
    limits = limits_of(recording.language)
    result.split_by_length(2 * limits.columns, even_split=False)
    result.split_by_duration(7)
    result.split_by_length(limits.columns, even_split=False, newline=True)
    return {"min_dur": 0.834}


def _padded(result, recording):
    "The same, each cue half a second longer where there is room"
    options = _fitted(result, recording)
    result.pad(end_pad=0.5, max_end=recording.duration)
    return options


def stable_ts_writers() -> dict[str, Writer]:
    "stable-ts with its default grouping and fitted to the rules by its documented methods"
    with quiet():
        import stable_whisper  # noqa: F401  is it there?
    return {
        "default": _stable,
        "split_by_length, split_by_duration, min_dur": lambda r: _stable(r, _fitted),
        "split_by_length, split_by_duration, min_dur, pad": lambda r: _stable(r, _padded),
    }
