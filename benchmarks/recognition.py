"""What was said: word and character errors with real Whisper weights, ours and WhisperX's in one run

    python benchmarks/recognition.py [--quick]

Each key maps a model (`base`, `tiny.en`) to a figure; rates are percentages of the words or characters of the
reference, over all clips of a set together, lower is better. Ours is speech activity, recognition and the
rules against invented text; beam 5, int8. Keys that end in `_whisperx` are WhisperX 3.8 on the same weights
with its own defaults (batches of 8, int8).

- `wer_librispeech`: 50 read utterances (LibriSpeech test-other, official texts) as one file of 390 s, 0.6 s
  of silence after each; `wer_librispeech_single`: the same as 50 files;
- `wer_english`: 18 clips: read, telephone band, children, accents, spontaneous, reverberant
  (`../shared/data/real/english`);
- `cer_languages`, `cer_korean`: character errors in read clips of eight languages and of Korean, `base` only,
  language given; after the language's normalization, without spaces; `language_right`: of those clips, in how
  many `base` finds the language;
- `invented_words`: words heard where nobody speaks (silence, dialling tones, an empty recording, music,
  noise), language given; of ours also on detection, `invented_words_auto`;
- `dropped_chunks`: chunks of six far-recorded meetings (AMI) that the rules dropped; their text is not known,
  so the warnings stand in the details, to be judged by ear;
- `wer_sample`, `der_sample`: the packaged sample through `analyze` with its default model, word and
  diarization error rates; `start_ms_sample`, `end_ms_sample`: median errors of its words' times;
  `seconds_sample`: how long that took, models at hand.

Words are compared as Whisper's papers do (its English normalizer). An utterance alone is never cut into
chunks, so single files and the joined one differ.
"""

import json
import time
from functools import cache

import numpy as np
from _common import ROOT, keep, options
from _peers import MODELS, WhisperX
from _speech import english, joined, korean, languages, librispeech, meetings, nothing_said

from ecg_audio_nb import analyze
from ecg_audio_nb.research.error_rates import boundaries, cer, wer
from ecg_audio_nb.research.metrics import evaluate
from ecg_audio_nb.schema import Word
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import choose_transcriber
from ecg_audio_nb.speech.vad import SPEECH_STEP, detect_speech

CHARACTER_SETS = {"cer_languages": languages, "cer_korean": korean}


@cache
def recognizer(model):
    chosen = {"engine": "whisper", "transcribe.model": model, "runtime.device": "cpu"}
    return choose_transcriber(load_settings(chosen))[0]


@cache
def speech(clip):
    return detect_speech(clip.audio, step=SPEECH_STEP).speech


def ours(model, clip, language=None):
    "The transcript of a clip; its language is given unless another, or auto, is asked for"
    return recognizer(model).transcribe(clip.audio, speech(clip), language or clip.language)


def text(transcript):
    return " ".join(w.word for w in transcript.words)


# ---- errors


def character_errors(rows, key):
    "Percent of the characters of all clips"
    counts = [cer(row["said"], row[key], row["language"]) for row in rows]
    return round(100 * sum(errors for errors, _ in counts) / sum(total for _, total in counts), 2)


def word_errors(rows, key):
    "Percent of the words of all clips, with the counts"
    found = wer("\n".join(r["said"] for r in rows), "\n".join(r[key] for r in rows), "en")
    counts = {
        "substitutions": found.substitutions,
        "deletions": found.deletions,
        "insertions": found.insertions,
    }
    return round(100 * found.wer, 2), {**counts, "words": found.reference_words}


def rows_of(model, clips, peer):
    "Each clip as said, as we hear it and as WhisperX hears it"
    rows = []
    for clip in clips:
        row = {
            "name": clip.name,
            "language": clip.language,
            "said": clip.text,
            "ours": text(ours(model, clip)),
        }
        if peer:
            row["whisperx"] = peer(clip.audio.samples, clip.language)
        rows.append(row)
        print(f"{model:8} {clip.name[:28]:28} {row['ours'][:90]}", flush=True)
    return rows


# ---- sets


def english_sets(model, peer, quick):
    "Word errors of one model: (figures, details)"
    sets = {
        "wer_librispeech": [joined(librispeech())],
        "wer_librispeech_single": librispeech(),
        "wer_english": english(),
    }
    if quick:
        sets = {"wer_librispeech_single": librispeech()[::10]}
    figures, details = {}, {}
    for key, clips in sets.items():
        rows = rows_of(model, clips, peer)
        for suffix, column in (("", "ours"), ("_whisperx", "whisperx")):
            if column in rows[0]:
                figures[key + suffix], counts = word_errors(rows, column)
                details[key + suffix] = counts
                print(f"{model}: {key}{suffix} {figures[key + suffix]} % {counts}", flush=True)
        details[key + "_rows"] = rows
    return figures, details


def other_languages(model, peer, quick):
    "Character errors of a multilingual model, and in how many clips it finds the language"
    figures, details, right, total = {}, {}, 0, 0
    for key, clips in CHARACTER_SETS.items():
        clips = clips()[:1] if quick else clips()
        rows = rows_of(model, clips, peer)
        for row, clip in zip(rows, clips):
            row["detected"] = ours(model, clip, "auto").language
            right, total = right + (row["detected"] == clip.language), total + 1
        for suffix, column in (("", "ours"), ("_whisperx", "whisperx")):
            if column in rows[0]:
                figures[key + suffix] = character_errors(rows, column)
        details[key] = [{**r, "cer": character_errors([r], "ours")} for r in rows]
        print(f"{model}: {key} {figures[key]} %", flush=True)
    return {**figures, "language_right": f"{right} of {total}"}, details


def invented(model, peer, quick):
    "Words heard where nobody speaks"
    rows = rows_of(model, nothing_said()[:2] if quick else nothing_said(), peer)
    for row, clip in zip(rows, nothing_said()):
        row["auto"] = text(ours(model, clip, "auto"))
    columns = {"invented_words": "ours", "invented_words_auto": "auto", "invented_words_whisperx": "whisperx"}
    return {key: sum(len(r[c].split()) for r in rows) for key, c in columns.items() if c in rows[0]}, rows


def dropped(model, quick):
    "Warnings about dropped chunks of far speech"
    found = {clip.name: ours(model, clip) for clip in (meetings()[:1] if quick else meetings())}
    rows = []
    for name, t in found.items():
        dropped = [w for w in t.warnings if w.startswith("transcribe: dropped")]
        rows.append({"name": name, "words": len(t.words), "dropped": dropped, "text": text(t)})
    return sum(len(row["dropped"]) for row in rows), rows


def sample():
    "The packaged sample, end to end"
    path, start = ROOT / "ecg_audio_nb/assets/sample.mp4", time.perf_counter()
    result = analyze(path, profile="demo")
    seconds = time.perf_counter() - start
    scores = evaluate(result, path.with_suffix(".stm"), path.with_suffix(".rttm"))
    truth = json.loads(path.with_suffix(".truth.json").read_text(encoding="utf-8"))["words"]
    reference = [Word(w["word"], w["start_time"], w["end_time"]) for w in truth]
    apart = boundaries(reference, [w for s in result.segments for w in s.words if w.kind == "word"]).errors
    return {
        "wer_sample": round(100 * scores.wer, 2),
        "der_sample": round(100 * scores.der, 2),
        "speakers_sample": scores.speakers_found,
        "seconds_sample": round(seconds, 1),
        "start_ms_sample": round(1000 * float(np.median(apart[::2])), 1),
        "end_ms_sample": round(1000 * float(np.median(apart[1::2])), 1),
    }, result.text


def main():
    args = options(__doc__)
    models = ("tiny.en",) if args.quick else MODELS
    figures, details = {}, {}

    def add(model, found, name, rows):
        for key, value in found.items():
            figures.setdefault(key, {})[model] = value
        details.setdefault(model, {})[name] = rows

    for model in models:
        peer = None if args.quick else WhisperX(model, "en" if model.endswith(".en") else None)
        add(model, *_named("english", english_sets(model, peer, args.quick)))
        if not model.endswith(".en"):
            add(model, *_named("languages", other_languages(model, peer, args.quick)))
        add(model, *_named("invented", invented(model, peer, args.quick)))
        n, rows = dropped(model, args.quick)
        add(model, {"dropped_chunks": n}, "meetings", rows)
    of_sample, said = sample()
    keep("recognition", {**figures, **of_sample}, args.quick, {**details, "sample": said})


def _named(name, found):
    return found[0], name, found[1]


if __name__ == "__main__":
    main()
