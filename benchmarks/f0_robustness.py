"""F0 where recordings are bad: clicks, levels, offset, clipping, telephone, noise; voices that are high, low,
creaky; and what the second pass (`acoustics.adaptive`) is worth.

    python benchmarks/f0_robustness.py [--quick] [--before CHECKOUT]

Each figure is `[gross, null]` in percent of the frames that have a truth: F0 more than 20 % off, and no F0.
`first` and `adaptive` are the two passes, `praat` is Praat's autocorrelation with the same bounds (65 to
500 Hz), `before` the first pass of the revision in CHECKOUT, a working copy of it (without the option: the
figures that are kept, where there are any).

- `disturbed`: LibriSpeech, two utterances of each speaker; truth: Praat on the undisturbed sound. `click`:
  the speech peaks at 0.03, then ten samples at full scale; `level 10` to `level 40`: a second speaker so many
  dB below the first, in turns of 1.5 s (the second's frames count); `offset`: 0.2; `clipped`: 20 dB over full
  scale; `telephone`: 300 to 3400 Hz at 8 kHz; `white`, `babble` (five voices): dB of signal
  over noise;
- `speech`: real recordings by kind; truth: the frames in which pYIN (librosa) and Praat's subharmonic
  summation, which share nothing with the trackers that are measured, agree within 5 %. `two_pass` is Praat
  with bounds from its own first pass, 0.75 and 1.5 times the quartiles (De Looze and Hirst, 2008);
- `known`: voices of known F0 outside the bounds, 520 to 1500 Hz, and pulses at 30 to 62 Hz through three
  resonances: frames with a wrong number, in percent;
- `creak_percent`: creaky frames of those that are creaky or voiced, by recording;
- `second_pass_cost`: time of the second pass over that of the first, features basic, five minutes, turns of
  3 s.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"
import json
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from _common import DATA, RESULTS, keep, need_data, options, pyannote_sample
from acoustics import RATE, best_of, one_core, ten_minutes

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.settings import AcousticsSettings
from ecg_audio_nb.voice.acoustics import frames, refine_f0

FULL, BASIC = AcousticsSettings(features="full", adaptive=True), AcousticsSettings(adaptive=True)
TURN = 24000  # samples of a turn where two people talk


# Trackers: samples -> F0 of each hop of 10 ms, 0 where there is none


def on_grid(pitch, n):
    out, at = np.zeros(n), np.round(pitch.xs() * 100 - 0.5).astype(int)
    inside = (at >= 0) & (at < n)
    out[at[inside]] = pitch.selected_array["frequency"][inside]
    return out


def sound(y, rate):
    import parselmouth

    return parselmouth.Sound(y.astype(np.float64), rate)


def praat(y, rate=RATE, floor=65, ceiling=500):
    pitch = sound(y, rate).to_pitch_ac(0.01, floor, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, ceiling)
    return on_grid(pitch, len(y) * 100 // rate)


def two_pass(y):
    first = praat(y, RATE, 60, 750)
    if (first > 0).sum() < 20:
        return first
    low, high = np.quantile(first[first > 0], [0.25, 0.75])
    return praat(y, RATE, 0.75 * low, 1.5 * high)


def both_passes(y, turns, rate=RATE):
    first = frames(y, rate, BASIC)
    second = refine_f0(first, y, turns, BASIC)
    return np.nan_to_num(first.f0), np.nan_to_num(second.f0)


def agreed(y):
    "F0 on which pYIN and subharmonic summation agree"
    import librosa

    n = len(y) // 160
    shs = on_grid(sound(y, RATE).to_pitch_shs(0.01, 50, 15, 1250, 15, 0.84, 1200, 48), n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f0, voiced, _ = librosa.pyin(y[80:], fmin=50, fmax=1200, sr=RATE, hop_length=160, frame_length=1024)
    pyin = np.zeros(n)
    m = min(n, len(f0))
    pyin[:m] = np.where(voiced[:m], np.nan_to_num(f0[:m]), 0)
    return np.where((shs > 0) & (np.abs(pyin / np.maximum(shs, 1) - 1) < 0.05), pyin, 0)


def errors(f0, truth):
    "Counts of gross errors, of frames without F0, and of all frames with a truth"
    n = min(len(f0), len(truth))
    f0, truth = f0[:n], truth[:n]
    known = truth > 0
    gross = known & (f0 > 0) & (np.abs(f0 / np.maximum(truth, 1) - 1) > 0.2)
    return np.array([gross.sum(), (known & (f0 == 0)).sum(), known.sum()])


def percent(counts):
    gross, null, known = counts.tolist()
    return [round(100 * gross / max(known, 1), 2), round(100 * null / max(known, 1), 2)]


# Disturbed speech: name -> (samples, rate, truth, turns)


def scaled(y, peak):
    return (y * (peak / np.abs(y).max())).astype(np.float32)


def telephone(y):
    from scipy.signal import butter, resample_poly, sosfiltfilt

    band = butter(6, [300, 3400], "bandpass", fs=RATE, output="sos")
    return resample_poly(sosfiltfilt(band, y), 1, 2).astype(np.float32)


def with_noise(y, noise, snr):
    noise = np.resize(noise, len(y))
    return scaled(y + noise * (y.std() / noise.std() * 10 ** (-snr / 20)), 0.5)


def babble(others):
    length = max(map(len, others))
    return sum(np.resize(y / y.std(), length) for y in others)


def in_turns(a, b):
    "Two voices by turns; the turns, and which samples are the second's"
    n = min(len(a), len(b)) // TURN
    parts = [x[k * TURN : (k + 1) * TURN] for k in range(n) for x in (a, b)]
    second = np.tile(np.repeat([False, True], TURN), n)
    seconds = TURN / RATE
    turns = [(k * seconds, (k + 1) * seconds, "AB"[k % 2]) for k in range(2 * n)]
    return np.concatenate(parts), turns, second


def disturbances(y, other, crowd, rng):
    truth, whole = praat(y), [(0, len(y) / RATE, "A")]
    click = np.append(scaled(y, 0.03), np.zeros(RATE, np.float32))
    click[-10:] = 1
    yield "clean", y, RATE, truth, whole
    yield "click", click, RATE, truth, whole
    pair, turns, second = in_turns(scaled(y, 0.9), scaled(other, 0.9))
    of_second = np.where(second[80::160], praat(pair), 0)
    for down in (10, 20, 30, 40):
        quiet = np.where(second, pair * np.float32(10 ** (-down / 20)), pair)
        yield f"level {down}", quiet, RATE, of_second, turns
    yield "offset", scaled(y, 0.7) + np.float32(0.2), RATE, truth, whole
    yield "clipped", np.clip(scaled(y, 10), -1, 1), RATE, truth, whole
    yield "telephone", telephone(y), RATE // 2, truth, whole
    for kind, noise in (("white", rng.normal(0, 1, len(y))), ("babble", crowd)):
        for snr in (20, 15, 10, 5, 0):
            yield f"{kind} {snr}", with_noise(y, noise, snr), RATE, truth, whole


def disturbed_signals(quick):
    files = sorted(need_data("librispeech").glob("*.flac"))
    of_speaker = {}
    for path in files:
        of_speaker.setdefault(path.stem.split("-")[0], []).append(path)
    chosen = [p for paths in of_speaker.values() for p in paths[1 : 2 if quick else 3]]
    voices = [load_audio(p).samples for p in (chosen[:3] if quick else chosen)]
    voices = [y[: min(len(y), 20 * RATE) // 160 * 160] for y in voices]
    crowd = babble([load_audio(paths[-1]).samples for paths in of_speaker.values()])
    rng = np.random.default_rng(0)
    for k, y in enumerate(voices):
        yield from disturbances(y, voices[k - 1], crowd, rng)


EARLIER = """
import sys
import numpy as np
from ecg_audio_nb.voice.acoustics import frames
signals = np.load(sys.argv[1])
np.savez(sys.argv[2], **{name: np.nan_to_num(frames(y, int(name.split("_")[1])).f0)
                         for name, y in signals.items()})
"""


def earlier_f0(signals, checkout):
    "F0 of the first pass of another revision, in a process of its own"
    with tempfile.TemporaryDirectory() as d:
        np.savez(f"{d}/in.npz", **{f"{k}_{rate}": y for k, (_, y, rate, *_) in enumerate(signals)})
        env = {**os.environ, "PYTHONPATH": str(checkout)}
        command = [sys.executable, "-c", EARLIER, f"{d}/in.npz", f"{d}/out.npz"]
        subprocess.run(command, env=env, cwd=d, check=True)
        out = np.load(f"{d}/out.npz")
        return [out[f"{k}_{rate}"] for k, (_, _, rate, *_) in enumerate(signals)]


def disturbed(quick, checkout):
    signals, counts = list(disturbed_signals(quick)), {}
    before = earlier_f0(signals, checkout) if checkout else [None] * len(signals)
    for (name, y, rate, truth, turns), old in zip(signals, before):
        first, adaptive = both_passes(y, turns, rate)
        heard = {"before": old, "first": first, "adaptive": adaptive, "praat": praat(y, rate)}
        for who, f0 in heard.items():
            if f0 is not None:
                row = counts.setdefault(name, {}).setdefault(who, np.zeros(3, int))
                row += errors(f0, truth)
    return {name: {who: percent(c) for who, c in row.items()} for name, row in counts.items()}


# Real speech by kind


def read_turns(path, seconds):
    if not path.with_suffix(".rttm").exists():
        return [(0, seconds, "A")]
    rows = [line.split() for line in path.with_suffix(".rttm").read_text().splitlines()]
    return [(float(r[3]), float(r[3]) + float(r[4]), r[7]) for r in rows if r and r[0] == "SPEAKER"]


def speech_files(quick):
    "Kind -> files with one voice at a time, no music, no copies of one recording"
    hard = DATA / "real/hard"
    english = sorted((DATA / "real/english").iterdir())
    children = [p for p in english if p.stem.split("_")[1:2] in (["age6"], ["age7"], ["age8"], ["age9"])]
    kinds = {"children": children}
    for quality in ("falsetto", "laughter", "creaky", "whisper", "breaths"):
        kinds[quality] = [hard / f"mfa_{quality}.flac"]
    if quick:
        return {**kinds, "children": children[:2], "breaths": []}
    names = ("sonnet.wav", "google_multi_en_es.flac", "was_der_mensch_saet_silence.flac", "sample_nb.amr")
    kinds["hard, other"] = [hard / name for name in names]
    kinds["english"] = [p for p in english if p not in children and "_rvb" not in p.stem]  # silent
    for folder in ("ami", "librispeech", "sentences", "real/words", "real/languages", "real/korean"):
        kinds[folder] = sorted((DATA / folder).iterdir())
    talks = sorted((DATA / "real/conversations").iterdir())
    kinds["conversations"] = [p for p in talks if "sintel" not in p.stem]  # film music
    kinds["telephone"] = [pyannote_sample()] if pyannote_sample() else []
    audio = {".wav", ".flac", ".mp3", ".opus", ".amr"}
    return {kind: [p for p in paths if p.suffix in audio] for kind, paths in kinds.items()}


def trackers(y, turns):
    first, adaptive = both_passes(y, turns)
    return {"first": first, "adaptive": adaptive, "praat": praat(y), "two_pass": two_pass(y)}


def real_speech(quick):
    counts = {}
    for kind, paths in speech_files(quick).items():
        for path in paths:
            y = load_audio(path).samples
            y = y[: len(y) // 160 * 160]
            turns, truth = read_turns(path, len(y) / RATE), agreed(y)
            t = (np.arange(len(y) // 160) + 0.5) / 100
            spoken = np.any([(t >= start) & (t < end) for start, end, _ in turns], 0)
            for who, f0 in trackers(y, turns).items():
                for group in (kind, "all"):
                    row = counts.setdefault(group, {}).setdefault(who, np.zeros(3, int))
                    row += errors(f0, np.where(spoken, truth, 0))
    frames_with_truth = {kind: int(row["first"][2]) for kind, row in counts.items()}
    return {k: {who: percent(c) for who, c in row.items()} for k, row in counts.items()}, frames_with_truth


# Known F0


def harmonics(f0, seconds=2):
    t = np.arange(seconds * RATE) / RATE
    return scaled(sum(np.sin(2 * np.pi * k * f0 * t + k) / k for k in range(1, int(4000 / f0) + 1)), 0.3)


def pulses(f0, seconds=2):
    t, y = np.arange(RATE // 10) / RATE, np.zeros(seconds * RATE + RATE // 10)
    resonances = ((500, 80), (1500, 120), (2500, 160))
    ringing = sum(np.exp(-np.pi * width * t) * np.sin(2 * np.pi * hz * t) for hz, width in resonances)
    for at in np.arange(0, seconds, 1 / f0):
        y[round(at * RATE) :][: len(t)] += ringing
    return scaled(y[: seconds * RATE], 0.3)


def known():
    "Percent of frames with a number that is wrong by more than 1 %, and with a right one"
    out = {}
    for f0 in (520, 600, 700, 900, 1200, 1500):
        out[f"{f0} Hz"] = harmonics(f0), f0
    for f0 in (62, 45, 30):
        out[f"pulses {f0} Hz"] = pulses(f0), f0
    rows = {}
    for name, (y, f0) in out.items():
        heard = dict(zip(("first", "adaptive"), both_passes(y, [(0, 2, "A")])))
        heard["praat"] = praat(y)
        wrong = {who: (x > 0) & (np.abs(x / f0 - 1) > 0.01) for who, x in heard.items()}
        rows[name] = {
            who: [round(100 * float(wrong[who].mean())), round(100 * float(((x > 0) & ~wrong[who]).mean()))]
            for who, x in heard.items()
        }
    return rows


def creak_percent(quick):
    out = {}
    for kind, paths in speech_files(True).items():
        measured = [frames(load_audio(p).samples, settings=FULL) for p in paths]
        creaky, voiced = sum(f.creak.sum() for f in measured), sum((f.f0 > 0).sum() for f in measured)
        out[kind] = round(100 * float(creaky / max(creaky + voiced, 1)), 1)
    for f0 in (62, 45, 30):
        out[f"pulses {f0} Hz"] = round(100 * float(frames(pulses(f0), settings=FULL).creak.mean()), 1)
    hiss = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype(np.float32)
    out["noise"] = round(100 * float(frames(hiss, settings=FULL).creak.mean()), 1)
    return out


def second_pass_cost(quick):
    y = ten_minutes(60 if quick else 300)
    first = frames(y, settings=BASIC)
    turns = [(k * 3, k * 3 + 2.9, "ABC"[k % 3]) for k in range(len(y) // RATE // 3)]
    runs = 3 if quick else 8
    took = best_of(runs, lambda: frames(y, settings=BASIC)), best_of(runs, lambda: refine_f0(first, y, turns))
    return round(took[1] / took[0], 3), {"first_s": took[0], "second_s": took[1]}


def kept_before(rows):
    "The earlier revision's figures, from the results that are kept"
    path = RESULTS / "f0_robustness.json"
    if not path.exists():
        return None
    old = json.loads(path.read_text())
    for name, row in rows.items():
        if "before" in old["disturbed"].get(name, {}):
            row["before"] = old["disturbed"][name]["before"]
    return old.get("before")


def main():
    args = options(__doc__, before={"help": "working copy of an earlier revision"})
    one_core()
    rows = disturbed(args.quick, args.before)
    if args.before:
        command = ["git", "-C", args.before, "rev-parse", "--short", "HEAD"]
        revision = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    else:
        revision = kept_before(rows)
    print(json.dumps(rows), flush=True)
    speech, counted = real_speech(args.quick)
    print(json.dumps(speech), flush=True)
    cost, seconds = second_pass_cost(args.quick)
    figures = {
        "disturbed": rows,
        "before": revision,
        "speech": speech,
        "known": known(),
        "creak_percent": creak_percent(args.quick),
        "second_pass_cost": cost,
    }
    keep("f0_robustness", figures, args.quick, {"frames_with_truth": counted, **seconds})


if __name__ == "__main__":
    main()
