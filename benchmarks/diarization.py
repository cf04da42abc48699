"""Who spoke when, the number of speakers unknown: diarization error on real speech.

    python benchmarks/diarization.py [--quick]

- `der_sample`, `speakers_sample`: the telephone talk that comes with pyannote.audio (2 speakers), no collar;
- `der_splices`, `count_right`: mean over ten conversations spliced from LibriSpeech (2 to 5 voices, 1 to 3 minutes,
  half of them through a telephone: 300 to 3400 Hz, 8-bit mu-law), and in how many the number of speakers is right.
  The truth of a splice: whose utterance it is, and within it where silero hears speech in the clean source (pauses
  under 0.3 s are bridged, as is the field's custom). The telephone band and the noise come after that;
- `der_ami`: six cuts of AMI meetings, recorded from afar: all errors over all speech. `der_ami_mean` is the mean of
  the cuts' own rates, which one cut with 6 s of laughter dominates. The torch prototype of our recipe had 38.7.

Rates are percent, overlap counted. The same again with the number of speakers given stands in the details.
"""
import statistics

import numpy as np
from _common import keep, need_data, options, pyannote_sample
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from ecg_audio_nb.diarize import diarize
from ecg_audio_nb.evaluate import read_turns
from ecg_audio_nb.media import Audio, load_audio
from ecg_audio_nb.models import onnx_session
from ecg_audio_nb.settings import DiarizeSettings
from ecg_audio_nb.voice import SAMPLE_RATE, SILERO_STEP, above, join, listen, peak_gain, silero_scores


def annotation(turns) -> Annotation:
    a = Annotation()
    for i, (start, end, speaker) in enumerate(turns):
        a[Segment(start, end), i] = speaker
    return a


def speech_of(samples) -> list:
    "Where there is speech in a clean utterance"
    spans = above(silero_scores(samples * peak_gain(samples), onnx_session("silero_vad")), 0.5, 0.35) * SILERO_STEP
    return [(s, min(e, len(samples) / SAMPLE_RATE)) for s, e in join(spans, min_silence=0.3, min_speech=0.1)]


def telephone(samples):
    "300 to 3400 Hz, 8 kHz, mu-law with 8 bits"
    from scipy.signal import butter, resample_poly, sosfilt
    y = sosfilt(butter(4, [300, 3400], "band", fs=SAMPLE_RATE, output="sos"), samples)
    y = resample_poly(resample_poly(y, 1, 2), 2, 1)
    peak = np.abs(y).max()
    coded = np.round(np.sign(y) * np.log1p(255 * np.abs(y) / peak) / np.log1p(255) * 127) / 127
    return (np.sign(coded) * (256 ** np.abs(coded) - 1) / 255 * peak).astype(np.float32)


def splice(folder, seed: int, voices: int, seconds: float, phone: bool):
    "A conversation of known turns"
    random = np.random.default_rng(seed)
    utterances = {}
    for path in sorted(folder.glob("*.flac")):
        utterances.setdefault(path.name.split("-")[0], []).append(path)
    speakers = list(random.permutation(sorted(utterances)))[:voices]
    left = {s: list(random.permutation(sorted(utterances[s]))) for s in speakers}
    parts, turns, at, last = [], [], 0.0, None
    while at < seconds and any(left.values()):
        choice = [s for s in speakers if s != last and left[s]] or [s for s in speakers if left[s]]
        last = choice[random.integers(len(choice))]
        said = load_audio(left[last].pop()).samples[:int(random.uniform(3, 12) * SAMPLE_RATE)]
        said = said * np.float32(0.05 / np.sqrt(np.square(said).mean()) * 10 ** (random.uniform(-3, 3) / 20))
        pause = np.zeros(int(random.uniform(0.1, 0.8) * SAMPLE_RATE), np.float32)
        at += len(pause) / SAMPLE_RATE
        turns += [(at + s, at + e, str(last)) for s, e in speech_of(said)]
        parts += [pause, said]
        at += len(said) / SAMPLE_RATE
    samples = np.concatenate(parts)
    samples = (samples + random.normal(0, 1e-4, len(samples))).astype(np.float32)
    return Audio(telephone(samples) if phone else samples), turns


def cases(quick: bool):
    "(set, name, audio, true turns)"
    sample = pyannote_sample()
    if sample:
        yield "sample", "sample", load_audio(sample), _rttm(sample.with_suffix(".rttm"))
    folder = need_data("librispeech")
    for i in range(0, 10, 4 if quick else 1):
        audio, turns = splice(folder, 100 + i, 2 + i % 4, 60 + 12 * i, phone=i >= 5)
        yield "splices", f"{2 + i % 4} voices, {'telephone' if i >= 5 else 'clean'}, {audio.duration:.0f} s", audio, turns
    for path in sorted(need_data("ami").glob("*.flac")):
        yield "ami", path.stem, load_audio(path), _rttm(path.with_suffix(".rttm"))


def _rttm(path):
    return [(t.start_time, t.end_time, t.speaker_id) for t in read_turns(path)]


def found(audio, activity, number=None) -> Annotation:
    turns = diarize(audio, activity, DiarizeSettings(num_speakers=number)).turns
    return annotation((t.start_time, t.end_time, t.speaker_id) for t in turns)


def der(audio, truth, turns, collar=0.0) -> float:
    "Percent; the collar is on either side of a turn's edge (pyannote.metrics counts both sides together)"
    return 100 * DiarizationErrorRate(collar=2 * collar)(truth, turns, uem=Timeline([Segment(0, audio.duration)]))


def main():
    args = options(__doc__)
    rows = []
    for kind, name, audio, turns in cases(args.quick):
        truth, activity = annotation(turns), listen(audio)
        turns, speakers = found(audio, activity), len(truth.labels())
        row = {"set": kind, "name": name, "der": der(audio, truth, turns), "der_collar_025": der(audio, truth, turns, 0.25),
               "speakers": speakers, "found": len(turns.labels()), "total": sum(s.duration for s in truth.itersegments())}
        if not args.quick:
            row["der_number_given"] = der(audio, truth, found(audio, activity, speakers))
        rows.append(row)
        print(f"{kind:8} {name:28} DER {row['der']:6.1f} %  with 0.25 s collar {row['der_collar_025']:6.1f} %  "
              f"speakers {row['found']} of {row['speakers']}", flush=True)
    of = lambda kind: [r for r in rows if r["set"] == kind]
    sample, splices, ami = of("sample"), of("splices"), of("ami")
    keep("diarization", {
        "der_sample": round(sample[0]["der"], 2) if sample else None,
        "speakers_sample": sample[0]["found"] if sample else None,
        "der_splices": round(statistics.mean(r["der"] for r in splices), 2),
        "count_right": sum(r["found"] == r["speakers"] for r in splices),
        "splices": len(splices),
        "der_ami": round(sum(r["der"] * r["total"] for r in ami) / sum(r["total"] for r in ami), 2),
        "der_ami_mean": round(statistics.mean(r["der"] for r in ami), 2),
    }, args.quick, rows)


if __name__ == "__main__":
    main()
