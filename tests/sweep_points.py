"""Sweeps over clips of the sample; tests/research has few points, tests/soak many"""
import soundfile

from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.research.sweep import sweep
from ecg_audio_nb.settings import VoiceSettings
from ecg_audio_nb.speech.vad import binarize, run_networks

SPANS = (0, 10), (8, 18), (17, 27) # of the sample, seconds
QUIET = {"engine": "whisper", "transcribe.enabled": False}


def clips_of_the_sample(folder, sample):
    "Three clips of the sample, with who spoke when"
    audio = load_audio(sample)
    turns = [
        (float(f[3]), float(f[3]) + float(f[4]), f[7])
        for f in map(str.split, sample.with_suffix(".rttm").read_text().splitlines())
    ]
    for n, (start, end) in enumerate(SPANS):
        soundfile.write(folder / f"c{n}.wav", audio.cut(start, end).samples, audio.sample_rate)
        inside = [
            (max(s, start) - start, min(e, end) - max(s, start), who)
            for s, e, who in turns
            if s < end and e > start
        ]
        (folder / f"c{n}.rttm").write_text(
            "".join(f"SPEAKER c{n} 1 {s:.3f} {d:.3f} <NA> <NA> {who} <NA> <NA>\n" for s, d, who in inside)
        )
    return [folder / f"c{n}.wav" for n in range(len(SPANS))]


def tried(clips, space, folder, data, **more):
    "A sweep of the diarization error rate, without words unless `settings` says otherwise"
    given = {
        "metric": "der",
        "references": None if isinstance(clips, dict) else clips[0].parent,
        "settings": QUIET | {"runtime.data_dir": data},
        "workers": 1,
    } | more
    return sweep(clips, space, folder=folder, **given)


def check_stage_runs(clips, folder, speakers, shortest, model):
    "Each stage runs once a recording for each of its own settings, however many points there are"
    onsets, offset = (0.4, 0.9), 0.35
    space = {
        "voice.onset": list(onsets),
        "acoustics.f0_floor": [60.0, 80.0],
        "diarize.num_speakers": speakers,
        "diarize.min_turn": shortest,
    }
    points, n = 4 * len(speakers) * len(shortest), len(clips)
    settings = {
        "engine": "whisper",
        "transcribe.model": model,
        "voice.offset": offset,
        "runtime.data_dir": str(folder / "data"),
    }
    found = tried(clips, space, folder / "sweep", None, settings=settings, workers=2)
    assert len(found.trials) == points * n and len(found.ranking()) == points
    assert not any(r.error for r in found.trials)
    heard = [
        len({tuple(binarize(s, VoiceSettings(onset=on, offset=offset)).speech) for on in onsets})
        for s in (run_networks(load_audio(c)) for c in clips)
    ]
    runs = dict(found.stage_runs)
    assert 2 * n <= runs.pop("adapt") <= points * n  # once for each floor and result of diarization
    assert runs == {
        "media": n,
        "voice": n,
        "diarize": n,
        "acoustics": 2 * n,
        "transcribe": sum(heard),
        "align": sum(heard),
    }
    assert len(set(found.ranking()["der"])) > len(speakers)
