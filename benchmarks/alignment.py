"""Word times: the packaged phone aligner and others against true times

    python benchmarks/alignment.py [--quick]

With the true text, means over words of |found - true|, ms:

- `start_ms_words`, `end_ms_words`: 8 English utterances with borders set by hand
  (`../shared/data/real/words`, 51 words);
- `white10_ms`, `white5_ms`, `white0_ms`, `telephone_ms`: starts of the same words under white noise at 10, 5,
  0 dB and through a telephone (300 to 3400 Hz, 8 kHz, mu-law); `white0_rough_ms`: with Whisper's rough times
  as a prior, as in the pipeline, where the recognizer gives them;
- `flite_ms`: starts in 40 Harvard sentences by flite, whose times are exact; `tiny_ms`, `tiny_wav2vec2_ms`:
  starts in the test fixture's 16 synthetic clips, by phones and by the fixture's own wav2vec2;
- `start_ms_cross_attention`, `start_ms_pocketsphinx`, `start_ms_even`: starts of the hand-labelled words by
  the cross-attention of `base` (faster-whisper's reading of it, as it comes), by pocketsphinx 5.1 (null where
  it is not installed), spread evenly;
- `languages`: mean start errors in espeak-ng's speech of two voices: synthetic, formant voices that follow
  rules, so a ranking and no human accuracy; `languages_within_35ms`: how many of them have at most 35 ms.
  Sentences are in `_sentences.py`; no constant was chosen on them. No real speech in other languages with
  true word times is at hand;
- `languages_real_aligned`: of `../shared/data/real/languages` and `korean`, true text: share of words that
  keep the aligner's own time (there is no truth of the times).

With the text that the recognizer hears in the joined hand-labelled utterances, per model:

- `own_text_ms`: starts of the words that were heard right; `own_text_cross_attention_ms`: the recognizer's
  own times.

And:

- `passages_without_path`: passages for which the search finds no path: the noisy, the telephone's, and AMI's
  far speech with the text that `base` hears; `ami_words_aligned`: share of AMI's words that keep the
  aligner's time;
- `cpu_s_per_s`: processor seconds for a second of sound, 6.5 minutes of LibriSpeech in passages of up to 28
  s;
- `path_ratio`, `whole_ratio`, `within_20ms`, `ends_within_20ms`: the wav2vec2 aligner against
  `whisperx.align`, same tiny weights, text and sound: how many times faster the search is, and alignment as a
  whole; share of words that start (end, but for a segment's last) within a frame of WhisperX's.

Details: mean, median and 90th percentile of starts and ends for every set, condition and way. White noise is
added three times with other seeds; its level is that of the whole clip's mean power. --quick leaves torch
out: no wav2vec2, no WhisperX.
"""

import time
from dataclasses import replace
from functools import cache

from _common import keep, options
from _peers import MODELS, FasterWhisper, pocketsphinx_times
from _sentences import LANGUAGES
from _speech import languages, librispeech, meetings
from _speech import korean as korean_clips
from _tiny import parity, settings
from _truth import (
    Passage,
    babble,
    errors,
    espeak_passages,
    faster,
    flite_sentences,
    hand_labelled,
    joined,
    summary,
    telephone,
    tiny_clips,
    white,
)

from ecg_audio_nb.speech.align import CtcAligner, PhoneAligner
from ecg_audio_nb.speech.forced_align import align_phones
from ecg_audio_nb.audio.media import Audio
from ecg_audio_nb.speech.phones import pronounce
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.research.error_rates import boundaries
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import Transcript, choose_transcriber
from ecg_audio_nb.speech.vad import SPEECH_STEP, detect_speech

CONDITIONS = {
    "clean": lambda p, seed: p,
    "white 20 dB": lambda p, seed: white(p, 20, seed),
    "white 10 dB": lambda p, seed: white(p, 10, seed),
    "white 5 dB": lambda p, seed: white(p, 5, seed),
    "white 0 dB": lambda p, seed: white(p, 0, seed),
    "babble 10 dB": lambda p, seed: babble(p, 10),
    "babble 5 dB": lambda p, seed: babble(p, 5),
    "telephone": lambda p, seed: telephone(p),
    "tempo x1.5": lambda p, seed: faster(p, 1.5),
    "tempo x2": lambda p, seed: faster(p, 2),
}
SEEDS = (1, 2, 3)  # of white noise; every figure is over all three
HARD = ("white 5 dB", "white 0 dB", "telephone")  # a path for every passage is claimed


# ---- ways to time words: passage -> spans, or None


@cache
def phone_aligner():
    return PhoneAligner(load_settings({"engine": "whisper", "runtime.threads": 1}))


def timed_by(aligner, p: Passage, rough=None):
    "The words of a passage as an aligner times them"
    rough = rough or [(None, None)] * len(p.words)
    words = tuple(
        Word(w, s, e, timing=None if s is None else "recognized") for w, (s, e) in zip(p.words, rough)
    )
    whole = (0.0, p.duration, len(words))
    given = Transcript(words, ModelInfo("true text", "none"), p.language, chunks=(whole,))
    return aligner.align(Audio(p.samples), given, [(0.0, p.duration)]).words


def by_phones(p):
    return timed_by(phone_aligner(), p)


def by_phones_with_prior(p):
    return timed_by(phone_aligner(), p, rough=in_order(by_cross_attention(p)))


@cache
def attention(model):
    return FasterWhisper(model, batched=False)


def by_cross_attention(p):
    return attention("base").word_times(p.samples, list(p.words), p.language)


def in_order(times):
    return [(s, max(s, e)) for s, e in times]


def evenly(p):
    step = p.duration / len(p.words)
    return [(i * step, (i + 1) * step) for i in range(len(p.words))]


def pronunciations(p):
    return [found for w in p.words if (found := pronounce(w, p.language))]


def by_pocketsphinx(p):
    found = pronunciations(p)
    return pocketsphinx_times(p.samples, found) if len(found) == len(p.words) else None


def with_pocketsphinx():
    try:
        import pocketsphinx
    except ImportError:
        return {}
    return {"pocketsphinx": by_pocketsphinx} if pocketsphinx else {}


def has_path(p: Passage) -> bool:
    "Whether the search finds a path, trusted or not"
    try:
        align_phones(p.samples, pronunciations(p), measure_margin=False)
    except ValueError:
        return False
    return True


# ---- tables


def table(passages, ways):
    "Errors of each way over the same passages; `aligned`: share of words that keep an aligner's own time"
    rows = {}
    for name, way in ways.items():
        found = [way(p) for p in passages]
        rows[name] = errors(passages, [answer and spans(answer) for answer in found])
        words = [w for answer in found for w in answer or () if isinstance(w, Word)]
        if words:
            rows[name]["aligned"] = round(sum(w.timing == "aligned" for w in words) / len(words), 3)
    return rows


def spans(answer):
    "Start and end of each word, seconds"
    return [(w.start_time, w.end_time) if isinstance(w, Word) else w for w in answer]


def changed(passages, condition, seeds=SEEDS):
    "The passages under a condition; under white noise once with each seed"
    used = seeds if condition.startswith("white") else seeds[:1]
    return [CONDITIONS[condition](p, seed) for seed in used for p in passages]


def told(title, rows):
    for name, row in rows.items():
        print(
            f"{title:22} {name:18} {row['words']:4} words, start {row['start_ms']}, end {row['end_ms']}"
            + (f", aligned {row['aligned']}" if "aligned" in row else "")
            + f", {row['passages_without']} passages without" * bool(row["passages_without"]),
            flush=True,
        )
    return rows


def hand_tables(quick):
    "Hand-labelled words in every condition"
    passages, tables = hand_labelled(), {}
    seeds = SEEDS[:1] if quick else SEEDS
    for name in CONDITIONS:
        if quick and name not in ("clean", "white 10 dB", "white 0 dB", "telephone"):
            continue
        ways = {"phones": by_phones}
        if not quick:
            ways |= {
                "phones with prior": by_phones_with_prior,
                "cross-attention": by_cross_attention,
                **with_pocketsphinx(),
            }
            ways |= {"even": evenly} if name == "clean" else {}
        tables[name] = told(f"hand, {name}", table(changed(passages, name, seeds), ways))
    return tables


def synthetic_tables(quick):
    "flite's sentences and the fixture's clips"
    sentences, tables = flite_sentences(every=4 if quick else 1), {}
    ways = {"phones": by_phones}
    if not quick:
        ways |= {"cross-attention": by_cross_attention, **with_pocketsphinx()}
    for name in ("clean",) if quick else ("clean", "white 10 dB", "white 0 dB"):
        tables[f"flite, {name}"] = told(f"flite, {name}", table(changed(sentences, name, SEEDS[:1]), ways))
    ways = {"phones": by_phones}
    if not quick:
        wav2vec2 = CtcAligner(settings())
        ways["wav2vec2 (fixture)"] = lambda p: timed_by(wav2vec2, p)
    tables["tiny clips"] = told("tiny clips", table(tiny_clips()[:: 4 if quick else 1], ways))
    return tables


def language_table(quick):
    "espeak-ng's speech in many languages"
    tables = {}
    for language in ("es", "ru", "ko") if quick else LANGUAGES:
        passages = espeak_passages(language, variants=("",) if quick else ("", "+f2"))
        if not passages:
            print("no espeak-ng here: no table of languages", flush=True)
            return {}
        ways = {"phones": by_phones}
        if not quick:
            ways["cross-attention"] = by_cross_attention
        tables[language] = told(f"espeak-ng, {language}", table(passages, ways))
    return tables


def real_languages(quick):
    "Share of words that keep the aligner's own time, by clip"
    rows = {}
    for clip in [*languages(), *korean_clips()][: 2 if quick else None]:
        if clip.audio.duration > 30:
            continue
        words = tuple(clip.text) if clip.language in ("ja", "zh") else tuple(clip.text.split())
        found = timed_by(phone_aligner(), Passage(clip.name, clip.audio.samples, words, (), clip.language))
        rows[f"{clip.language}: {clip.name}"] = [sum(w.timing == "aligned" for w in found), len(found)]
    return rows


def heard(model, audio):
    "What the product hears, before alignment, and where there is speech"
    chosen = load_settings(
        {
            "engine": "whisper",
            "transcribe.model": model,
            "transcribe.language": "en",
            "runtime.device": "cpu",
        }
    )
    speech = detect_speech(audio, step=SPEECH_STEP).speech
    return choose_transcriber(chosen)[0].transcribe(audio, speech, "en"), speech


def own_text(models):
    "Errors of the words that were heard right, in the joined hand-labelled utterances"
    file = joined(hand_labelled())
    audio, truth, rows = Audio(file.samples), [Word(w, *t) for w, t in zip(file.words, file.times)], {}
    for model in models:
        transcript, speech = heard(model, audio)
        aligned = phone_aligner().align(audio, transcript, speech).words
        rows[model] = {
            "text": " ".join(w.word for w in transcript.words),
            "aligned": sum(w.timing == "aligned" for w in aligned),
        }
        for name, words in (("phones", aligned), ("cross-attention", transcript.words)):
            apart = boundaries(truth, [w for w in words if w.start_time is not None]).errors
            rows[model][name] = {
                "words": len(apart) // 2,
                "start_ms": summary(apart[::2]),
                "end_ms": summary(apart[1::2]),
            }
        print(model, rows[model], flush=True)
    return rows


def far_speech(quick):
    "AMI with the text that base hears: passages, those without a path, words that keep the aligner's time"
    rows = {}
    for clip in meetings()[: 1 if quick else None]:
        transcript, speech = heard("base", clip.audio)
        found, first, without = phone_aligner().align(clip.audio, transcript, speech), 0, 0
        for start, end, n in transcript.chunks:
            words = tuple(w.word for w in transcript.words[first : first + n])
            passage = Passage(clip.name, clip.audio.cut(start, end).samples, words, ())
            without += bool(pronunciations(passage)) and not has_path(passage)
            first += n
        aligned = sum(w.timing == "aligned" for w in found.words)
        rows[clip.name] = {
            "passages": len(transcript.chunks),
            "without_path": without,
            "words": len(found.words),
            "aligned": aligned,
            "warnings": found.warnings,
        }
        print("AMI", clip.name, rows[clip.name], flush=True)
    return rows


def without_path(quick):
    "Hand-labelled passages without a path in the hard conditions"
    passages, seeds = hand_labelled()[:: 4 if quick else 1], SEEDS[:1] if quick else SEEDS
    return sum(not has_path(p) for condition in HARD for p in changed(passages, condition, seeds))


def cost(quick):
    "Processor seconds for a second of LibriSpeech, true text"
    passages = [
        Passage(c.name, c.audio.samples, tuple(c.text.split()), ((None, None),) * len(c.text.split()))
        for c in librispeech()[: 10 if quick else None]
    ]
    groups = [[passages[0]]]
    for p in passages[1:]:
        if sum(q.duration + 0.5 for q in groups[-1]) + p.duration > 28:
            groups.append([])
        groups[-1].append(p)
    files = [joined(g) for g in groups]
    by_phones(replace(files[0], samples=files[0].samples[: 16000 * 20]))  # loads the model and the dictionary
    for p in files:
        pronunciations(p)
    start = time.process_time()
    for p in files:
        by_phones(p)
    return (time.process_time() - start) / sum(p.duration for p in files)


def main():
    args = options(__doc__)
    models = ("tiny.en",) if args.quick else MODELS
    hand, synthetic = hand_tables(args.quick), synthetic_tables(args.quick)
    spoken, real = language_table(args.quick), real_languages(args.quick)
    own, far, seconds = own_text(models), far_speech(args.quick), cost(args.quick)
    print(f"{seconds:.4f} CPU s per s", flush=True)
    same = {"figures": {}, "details": None} if args.quick else parity()

    def mean(rows, way="phones", key="start_ms"):
        return rows[way][key] and rows[way][key][0] if way in rows else None

    by_language = {k: mean(rows) for k, rows in spoken.items()}
    ami_words = sum(r["words"] for r in far.values())
    keep(
        "alignment",
        {
            "start_ms_words": mean(hand["clean"]),
            "end_ms_words": mean(hand["clean"], key="end_ms"),
            **{
                f"own_text{name}_ms": {
                    m: own[m][way]["start_ms"] and own[m][way]["start_ms"][0] for m in models
                }
                for name, way in (("", "phones"), ("_cross_attention", "cross-attention"))
            },
            "flite_ms": mean(synthetic["flite, clean"]),
            "tiny_ms": mean(synthetic["tiny clips"]),
            "tiny_wav2vec2_ms": mean(synthetic["tiny clips"], "wav2vec2 (fixture)"),
            **{
                f"{name}_ms": mean(hand[c]) if c in hand else None
                for name, c in (
                    ("white10", "white 10 dB"),
                    ("white5", "white 5 dB"),
                    ("white0", "white 0 dB"),
                    ("telephone", "telephone"),
                )
            },
            "white0_rough_ms": mean(hand["white 0 dB"], "phones with prior"),
            "start_ms_cross_attention": mean(hand["clean"], "cross-attention"),
            "start_ms_pocketsphinx": mean(hand["clean"], "pocketsphinx"),
            "start_ms_even": mean(hand["clean"], "even"),
            "languages_within_35ms": sum(v is not None and v <= 35 for v in by_language.values()),
            "languages": by_language,
            "languages_real_aligned": round(
                sum(a for a, _ in real.values()) / sum(n for _, n in real.values()), 3
            ),
            "passages_without_path": without_path(args.quick) + sum(r["without_path"] for r in far.values()),
            "ami_words_aligned": round(sum(r["aligned"] for r in far.values()) / max(ami_words, 1), 3),
            "cpu_s_per_s": round(seconds, 4),
            **same["figures"],
        },
        args.quick,
        {
            "hand_labelled": hand,
            "synthetic": synthetic,
            "languages": spoken,
            "languages_real": real,
            "own_text": own,
            "ami": far,
            "parity": same["details"],
        },
    )


if __name__ == "__main__":
    main()
