"""Voice quality and loudness against Praat, FFmpeg's ebur128 and openSMILE, in one run on one core.

    python benchmarks/voice_quality.py [--quick]

Two sets, each with figures of its own: `development` (the first and sixth utterance of each LibriSpeech
speaker, real/words, real/languages) was looked at while the measures were written, `measured` (the other
LibriSpeech utterances, real/english) was not. No constant was fitted to either: they are Praat's, the
standards', or those of the papers.

- `loudness`: LU from ffmpeg's ebur128 at 48 kHz, the standard's rate: integrated (`integrated`), momentary
  and short-term (`series`, largest); `native`: from ebur128 at the file's own rate, where its formulas differ
  from the standard; `band_limit`: what decoding to 16 kHz does
  to integrated loudness, [median, lowest], mono files of 22.05 kHz and more;
  `ebu`: largest error over cases 1, 3 to 5, 9, 12, 13 of EBU Tech 3341;
- `formants`: median difference of F1, F2, F3 from Praat's Burg in percent, frames with a voice, one ceiling;
- `jitter`, `shimmer`, `hnr`, `cpps`, over voiced stretches of 0.1 s and more (`cpps`: 0.25 s and more):
  `r`: correlation with Praat; `difference`: median difference; `praat_r`, `praat_spread`: the same of Praat's
  own two usual settings, of each other (pitch from 65 to 500 or 75 to 600 Hz; ac or cc; Maryn and
  Weenink's or Praat's default), of which the first is ours;
- `spectral`: correlation with openSMILE's eGeMAPSv02 over voiced frames, as published, and with openSMILE's
  two departures (null where opensmile is not installed: its licence keeps it out of every extra);
- `syllables`: correlation of the nuclei of a file with those of de Jong and Wempe's script on Praat's
  intensity, and the ratio of the sums;
- `seconds` of a processor: 10 minutes (1 with --quick), best of three: `acoustics.frames` (basic, full),
  loudness, all of voice quality, its pool over words; `full_over_basic`: all of that in relation to the basic
  frames;
  `praat`: pitch, periods, jitter, shimmer, harmonicity, formants, cepstrogram (a frame every 10 ms) and
  intensity of the same sound, `praat_over_full`: in relation to ours.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import re
import shutil
import subprocess
import tempfile
import time
import warnings

import numpy as np
from _common import DATA, keep, need_data, options
from acoustics import one_core, ten_minutes

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.settings import AcousticsSettings
from ecg_audio_nb.voice.acoustics import frames
from ecg_audio_nb.voice.formants import fit_ceiling, measure_formants
from ecg_audio_nb.audio.loudness import measure_loudness
from ecg_audio_nb.voice.quality import measure_quality, pool_quality, spectral_balance, syllable_nuclei

RATE = 16000


def sets(quick):
    "Files of each set; the first few of them with --quick"
    speech = sorted((need_data("librispeech")).glob("*.flac"))
    seen = [p for p in speech if p.stem.endswith(("0000", "0005"))]
    words = sorted((DATA / "real/words").glob("*.wav"))
    sound = (".wav", ".flac", ".mp3")
    languages = [p for p in sorted((DATA / "real/languages").iterdir()) if p.suffix in sound]
    english = [p for p in sorted((DATA / "real/english").iterdir()) if p.suffix in sound]
    development = [*seen, *words, *languages]
    measured = [*(p for p in speech if p not in seen), *english]
    if quick:
        return {"development": development[::8], "measured": measured[::12]}
    return {"development": development, "measured": measured}


# Loudness


def ebur128(path, before=""):
    "Momentary, short-term and integrated loudness as ffmpeg measures them"
    command = ["ffmpeg", "-nostats", "-v", "error", "-i", path, "-vn"]
    command += ["-af", before + "ebur128=metadata=1,ametadata=print:file=-", "-f", "null", "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [np.array(re.findall(rf"r128\.{k}=(\S+)", text), float) for k in "MSI"]


def ebur128_at_48000(samples, rate):
    "The same at the standard's rate, resampled exactly: FFmpeg's resampler takes the top of the band away"
    import soundfile
    from scipy.signal import resample

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.wav"
        soundfile.write(path, resample(samples, len(samples) * 48000 // rate), 48000, subtype="FLOAT")
        return ebur128(path)


def series_error(ours, theirs, cells):
    "Largest difference where there is something to hear"
    at = np.arange(1, len(theirs) + 1) * 10 - cells
    inside = (at >= 0) & (at < len(ours)) & (theirs > -60)
    return float(abs(ours[at[inside]] - theirs[inside]).max()) if inside.any() else 0.0


def ebu_error():
    "Largest error over signals of EBU Tech 3341 that need no file"

    def tone(*parts):
        level = np.concatenate([np.full(round(s * RATE), 10 ** (db / 20)) for db, s in parts])
        y = level * np.sin(2 * np.pi * 1000 * np.arange(len(level)) / RATE)
        return measure_loudness(np.repeat(y[:, None], 2, 1))

    quiet, loud = (-36, 10), (-23, 60)
    integrated = [[(-23, 20)], [quiet, loud, quiet], [(-72, 10), quiet, loud, quiet, (-72, 10)]]
    integrated += [[(-26, 20), (-20, 20.1), (-26, 20)]]
    errors = [abs(tone(*parts).integrated + 23) for parts in integrated]
    errors.append(abs(tone(*[(-20, 1.34), (-30, 1.66)] * 5).short_term[:-1] + 23).max())
    errors.append(abs(tone(*[(-20, 0.18), (-30, 0.22)] * 25).momentary[60:-1] + 23).max())
    errors += [abs(tone((-300, 0.02 * i), (-23, 0.4), (-300, 1)).max_momentary + 23) for i in range(20)]
    return round(float(max(errors)), 3)


def loudness(files, quick):
    if not shutil.which("ffmpeg"):
        return None
    import soundfile

    readable = [p for p in files if p.suffix in (".wav", ".flac")]
    hall = sorted((DATA / "ami").glob("*.flac")) + sorted((DATA / "real/conversations").glob("*.wav"))
    integrated, native, series, band = [], [], [], []
    for path in [*hall, *readable][:: 6 if quick else 1]:
        samples, rate = soundfile.read(path, dtype="float32")
        ours = measure_loudness(samples, rate)
        if rate < 16000 or ours.integrated is None:
            continue
        m, s, i = ebur128_at_48000(samples, rate)
        integrated.append(abs(ours.integrated - i[-1]))
        series.append(max(series_error(ours.momentary, m, 40), series_error(ours.short_term, s, 300)))
        native.append(abs(ours.integrated - ebur128(path)[2][-1]))
    sound = (".wav", ".flac", ".mp3", ".ogg")
    for path in sorted(p for p in (DATA / "real").rglob("*") if p.suffix in sound):
        rate, channels = stream(path)
        if rate < 22050 or channels > 1:
            continue
        ours = measure_loudness(load_audio(path).samples).integrated
        if ours is None:
            continue
        band.append(ours - ebur128(path, "aresample=48000,")[2][-1])
    return {
        "files": len(integrated),
        "integrated": round(float(max(integrated)), 3),
        "series": round(max(series), 3),
        "native": round(float(max(native)), 3),
        "band_limit": [round(float(np.median(band)), 2), round(float(min(band)), 2)],
        "ebu": ebu_error(),
    }


def stream(path):
    "Rate and number of channels"
    import av

    with av.open(str(path)) as container:
        found = container.streams.audio[0]
        return found.rate, found.layout.nb_channels


# Praat

F0 = [(65, 500), (75, 600)]
CPPS = [
    ("no", 0.01, 0.001, 60, 330, 0.05, "parabolic", 0.001, 0.05, "Straight", "Robust"),
    ("yes", 0.02, 0.0005, 60, 330, 0.05, "parabolic", 0.001, 0.05, "Exponential decay", "Robust"),
]


class Praat:
    "The same measures of one recording, at two settings each"

    def __init__(self, samples):
        import parselmouth
        from parselmouth.praat import call

        self.call, self.sound = call, parselmouth.Sound(samples.astype(float), RATE)
        tracks = [
            self.sound.to_pitch_ac(0.01, low, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, high)
            for low, high in F0
        ]
        self.points = [call([self.sound, track], "To PointProcess (cc)") for track in tracks]
        self.harmonicity = [
            self.sound.to_harmonicity_ac(0.01, 75, 0.1, 4.5), self.sound.to_harmonicity_cc(0.01, 75, 0.1, 1.0)
        ]
        self.voiced = tracks[0]

    def jitter(self, start, end):
        limits = start, end, 1e-4, 0.02, 1.3
        return [self.call(p, "Get jitter (local)", *limits) for p in self.points]

    def shimmer(self, start, end):
        limits = start, end, 1e-4, 0.02, 1.3, 1.6
        return [self.call([self.sound, p], "Get shimmer (local)", *limits) for p in self.points]

    def hnr(self, start, end):
        return [self.call(h, "Get mean", start, end) for h in self.harmonicity]

    def cpps(self, start, end):
        part = self.call(self.sound, "Extract part", start - 0.05, end + 0.05, "rectangular", 1, "no")
        cepstrum = self.call(part, "To PowerCepstrogram", 60, 0.002, 5000, 50)
        return [self.call(cepstrum, "Get CPPS", *settings) for settings in CPPS]

    def formants(self, times, ceiling):
        found = self.sound.to_formant_burg(0.0025, 5, ceiling, 0.025, 50)
        return np.array([[found.get_value_at_time(i, t) for i in (1, 2, 3)] for t in times])

    def nuclei(self):
        "de Jong and Wempe's script, version 2"
        intensity = self.sound.to_intensity(50, 0.016)
        level, times = intensity.values[0], intensity.xs()
        least = max(np.quantile(level, 0.99) - 25, level.min())
        peaks = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])) + 1
        peaks = peaks[level[peaks] > least]
        if not len(peaks):
            return 0
        dips = np.minimum.reduceat(level, peaks)
        return sum(
            level[p] - dip > 2 and not np.isnan(self.voiced.get_value_at_time(times[p]))
            for p, dip in zip(peaks, dips)
        )


def stretches(f0, hop, least):
    "Voiced stretches, seconds"
    edges = np.flatnonzero(np.diff(f0 > 0, prepend=False, append=False)).reshape(-1, 2) * hop / RATE
    return [(s, e) for s, e in edges.tolist() if e - s >= least]


def compared(rows):
    "Ours beside Praat's two settings"
    x = np.array([row for row in rows if None not in row], float)
    x = x[np.isfinite(x).all(1)]
    ours, first, second = x.T
    return {
        "n": len(x),
        "r": round(float(np.corrcoef(ours, first)[0, 1]), 4),
        "praat_r": round(float(np.corrcoef(second, first)[0, 1]), 4),
        "difference": round(float(np.median(ours - first)), 5),
        "praat_spread": round(float(np.median(second - first)), 5),
        "typical": round(float(np.median(first)), 4),
    }


def against_praat(files, quick):
    rows = {name: [] for name in ("jitter", "shimmer", "hnr", "cpps")}
    apart, nuclei, most = [], [], 20 if quick else 400
    for path in files:
        samples = load_audio(path).samples
        f = frames(samples)
        voiced = np.flatnonzero(f.f0 > 0)
        if len(voiced) < 50:
            continue
        praat, quality = Praat(samples), measure_quality(samples, f.f0, f.hop)
        middles = voiced * f.hop + f.hop // 2
        ceiling = fit_ceiling(samples, middles, np.cumsum(np.diff(voiced, prepend=voiced[0]) > 1)) or 5500
        ours = measure_formants(samples, middles, ceiling=ceiling).frequency
        apart.append(abs(ours / praat.formants((middles + 0.5) / RATE, ceiling) - 1))
        spans = stretches(f.f0, f.hop, 0.1)
        for (start, end), pooled in zip(spans, pool_quality(quality, spans)):
            rows["jitter"].append([pooled.jitter, *praat.jitter(start, end)])
            rows["shimmer"].append([pooled.shimmer, *praat.shimmer(start, end)])
            rows["hnr"].append([pooled.hnr_db, *praat.hnr(start, end)])
            if 0.25 <= end - start <= 0.8 and start > 0.05 and len(rows["cpps"]) < most:
                rows["cpps"].append([pooled.cpps_db, *praat.cpps(start, end)])
        nuclei.append([len(syllable_nuclei(samples, f.f0, f.hop)), praat.nuclei()])
    percent = 100 * np.nanmedian(np.concatenate(apart), 0)
    counts = np.array(nuclei)
    return {
        "formants": {"frames": sum(map(len, apart)), "median_percent": percent.round(3).tolist()},
        **{name: compared(values) for name, values in rows.items()},
        "syllables": {
            "files": len(counts),
            "r": round(float(np.corrcoef(counts.T)[0, 1]), 4),
            "ratio": round(float(counts[:, 0].sum() / counts[:, 1].sum()), 3),
        },
    }


# openSMILE


def departed(samples):
    "Alpha ratio and slopes of frames, as published and with openSMILE's departures"
    count = (len(samples) - 320) // 160 + 1
    x = samples[np.arange(count)[:, None] * 160 + np.arange(320)] * np.hamming(320)
    power, hz = abs(np.fft.rfft(x, 512)) ** 2, np.arange(257) * 31.25
    level = 10 * np.log10(power + 1e-30)
    low, high = power[:, hz < 1000].sum(1), power[:, (hz >= 1000) & (hz <= 5000)].sum(1)
    out = {"alpha_ratio": 10 * np.log10(high / np.maximum(low, 1e-30))}
    for name, first, last in (("slope_0_500", 0, 16), ("slope_500_1500", 16, 48)):
        x, n = hz[first : last + 1], last - first # a frequency too few
        y = level[:, first : last + 1]
        covariance = y @ x - x.sum() * y.sum(1) / n
        out[name] = covariance / ((x * x).sum() - x.sum() ** 2 / n)
    return out


def against_opensmile(files):
    try:
        import opensmile
    except ImportError:
        return None
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, feature_level="lld")
    names = dict(alpha_ratio="alphaRatio", hammarberg="hammarbergIndex", slope_0_500="slope0-500",
                 slope_500_1500="slope500-1500", flux="spectralFlux")
    pairs = {"published": {}, "departed": {}}
    for path in files:
        samples = load_audio(path).samples
        theirs = smile.process_signal(samples, RATE)
        voiced = theirs["F0semitoneFrom27.5Hz_sma3nz"].to_numpy() > 0
        voiced[:5] = voiced[-5:] = False
        # a frame of openSMILE is 5 ms behind ours: it begins where a hop does
        balance = spectral_balance(samples[80:], len(voiced), 160)
        found = {"published": {k: getattr(balance, k) for k in names}, "departed": departed(samples)}
        for kind, columns in found.items():
            for name, values in columns.items():
                smooth = np.convolve(np.nan_to_num(values), np.ones(3) / 3, "same")[: len(voiced)]
                wanted = theirs[names[name] + "_sma3"].to_numpy()
                pairs[kind].setdefault(name, []).append([smooth[voiced], wanted[voiced]])
    r = lambda x: round(float(np.corrcoef(np.concatenate(x, 1))[0, 1]), 4)
    return {kind: {name: r(x) for name, x in columns.items()} for kind, columns in pairs.items()}


# Cost


def cpu_seconds(work, runs=3):
    "Least time of a processor that the work takes, whatever else the machine does"
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def praat_set(y):
    "The same measures as Praat takes them, of a whole file"
    import parselmouth
    from parselmouth.praat import call

    sound = parselmouth.Sound(y.astype(float), RATE)
    pitch = sound.to_pitch_ac(0.01, 65, 15, False, 0.03, 0.45, 0.01, 0.35, 0.14, 500)
    points = call([sound, pitch], "To PointProcess (cc)")
    call(points, "Get jitter (local)", 0, 0, 1e-4, 0.02, 1.3)
    call([sound, points], "Get shimmer (local)", 0, 0, 1e-4, 0.02, 1.3, 1.6)
    sound.to_harmonicity_ac(0.01, 75, 0.1, 4.5)
    sound.to_formant_burg(0.01, 5, 5500, 0.025, 50)
    call(sound, "To PowerCepstrogram", 60, 0.01, 5000, 50)
    sound.to_intensity(50, 0.01)


def seconds(quick):
    y, full = ten_minutes(60 if quick else 600), AcousticsSettings(features="full")
    words = [(t, t + 0.25) for t in np.arange(0, len(y) / RATE - 1, 0.33)]
    f = frames(y)
    quality = measure_quality(y, f.f0, f.hop)
    work = {
        "frames_basic": lambda: frames(y),
        "frames_full": lambda: frames(y, settings=full),
        "loudness": lambda: measure_loudness(y),
        "quality": lambda: measure_quality(y, f.f0, f.hop),
        "pool": lambda: pool_quality(quality, words),
    }
    took = {name: cpu_seconds(measure) for name, measure in work.items()}
    all_of_it = sum(took.values()) - took["frames_basic"]
    took["praat"] = cpu_seconds(lambda: praat_set(y), 1)
    return {
        **{name: round(s, 3) for name, s in took.items()},
        "full_over_basic": round(all_of_it / took["frames_basic"], 2),
        "praat_over_full": round(took["praat"] / all_of_it, 2),
    }


def main():
    args = options(__doc__)
    one_core()
    warnings.simplefilter("ignore")
    figures = {}
    for name, files in sets(args.quick).items():
        figures[name] = {**against_praat(files, args.quick), "spectral": against_opensmile(files)}
        print(name, figures[name], flush=True)
    figures["loudness"] = loudness(sets(args.quick)["measured"], args.quick)
    figures["seconds"] = seconds(args.quick)
    keep("voice_quality", figures, args.quick)


if __name__ == "__main__":
    main()
