"""Transcribe and align: ours and WhisperX's own Python API, same weights and sound, warm, on the CPU, in one process.

    python benchmarks/end_to_end.py [--quick]

- `ratio`: how many times faster 10 minutes are (speech activity, recognition, alignment), at the same chunk size;
- `words_ours`, `words_whisperx`: share of the words of the truth that were found;
- `folder_ratio`: a folder of 12 files through `ecg analyze` and through the `whisperx` command, both without diarization,
  start of the program and loading of the models included; null with --quick;
- `peak_mb_ours`, `peak_mb_whisperx`: peak memory of those two commands' processes.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
from _common import keep, options
from _tiny import CHUNK, TINY, found, plain, settings, speech, without_nltk_data

from ecg_audio_nb.align import CtcAligner
from ecg_audio_nb.media import Audio
from ecg_audio_nb.settings import RuntimeSettings, VoiceSettings
from ecg_audio_nb.transcribe import choose_transcriber
from ecg_audio_nb.voice import SPEECH_STEP, listen

PEER = """ # neither NLTK's model nor the ffmpeg program is needed: an untrained splitter, and samples read from the wav file
import wave, numpy as np, whisperx.alignment, whisperx.transcribe
from nltk.tokenize.punkt import PunktSentenceTokenizer
def load_audio(path):
    with wave.open(path) as f: return np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32768
whisperx.transcribe.load_audio = whisperx.alignment.load_audio = load_audio
whisperx.alignment.nltk_load = lambda path: PunktSentenceTokenizer()
from whisperx.__main__ import cli
cli()
"""


def ours(audio, engine, aligner):
    times, start = {}, time.perf_counter()
    def lap(name):
        nonlocal start
        times[name], start = time.perf_counter() - start, time.perf_counter()
    speech_ = listen(audio, VoiceSettings(), RuntimeSettings(device="cpu"), SPEECH_STEP).speech
    lap("voice")
    said = engine.transcribe(audio, speech_, "en")
    lap("transcribe")
    words = aligner.align(audio, said, speech_).words
    lap("align")
    return times, [w.word for w in words]


def theirs(samples, pipe, model, about):
    import whisperx
    start = time.perf_counter()
    heard = pipe.transcribe(samples, batch_size=8, chunk_size=CHUNK)
    middle = time.perf_counter()
    aligned = whisperx.align(heard["segments"], model, about, samples, "cpu")
    times = {"transcribe": middle - start, "align": time.perf_counter() - middle}
    return times, [w["word"] for s in aligned["segments"] for w in s["words"]]


def write(path, samples):
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1), f.setsampwidth(2), f.setframerate(16000)
        f.writeframes(np.clip(samples * 32767, -32768, 32767).astype("<i2").tobytes())


def folder(parent):
    "Both commands on 12 files; (seconds, peak MB) of each"
    files = []
    for i in range(12):
        files.append(parent / f"file{i:02}.wav")
        write(files[-1], speech(60, seed=i)[0])
    lines = [f"--set={k}={v}" for k, v in {"transcribe.model": TINY / "whisper-ct2", "align.model": TINY / "wav2vec2",
             "transcribe.chunk_size": CHUNK, "transcribe.language": "en", "runtime.device": "cpu", "diarize.enabled": "false"}.items()]
    mine = [sys.executable, "-m", "ecg_audio_nb", "analyze", *map(str, files), "-o", str(parent / "ours"), "--engine", "whisperx", *lines]
    peer = [sys.executable, "-c", PEER, *map(str, files), "--model", str(TINY / "whisper-ct2"), "--align_model", str(TINY / "wav2vec2"),
            "--device", "cpu", "--compute_type", "int8", "--language", "en", "--chunk_size", str(CHUNK),
            "--output_dir", str(parent / "theirs"), "--threads", str(len(os.sched_getaffinity(0)))]
    return measured(mine), measured(peer)


def measured(command):
    "Run a command in a process that reports the seconds and the peak of it alone"
    code = ("import json, resource, subprocess, sys, time; t = time.perf_counter(); "
            "done = subprocess.run(json.loads(sys.argv[1]), capture_output=True, text=True); "
            "print(json.dumps([done.returncode, time.perf_counter() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, "
            "done.stdout[-800:] + done.stderr[-1500:]]))")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYANNOTE_METRICS_ENABLED": "0"}
    out = subprocess.run([sys.executable, "-c", code, json.dumps(command)], capture_output=True, text=True, env=env, check=True).stdout
    status, seconds, peak, tail = json.loads(out)
    if status:
        sys.exit(f"{command[1:4]} failed:\n{tail}")
    return seconds, peak


def main():
    args = options(__doc__)
    without_nltk_data()
    samples, truth = speech(60 if args.quick else 600)
    said = [w.lower() for w, *_ in truth]
    conf = settings()
    engine, aligner = choose_transcriber(conf)[0], CtcAligner(conf)
    import torch
    import whisperx
    from whisperx.asr import load_model
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    pipe = load_model(str(TINY / "whisper-ct2"), "cpu", compute_type="int8", language="en", threads=cores)
    model, about = whisperx.load_align_model("en", "cpu", model_name=str(TINY / "wav2vec2"))
    warm = samples[:20 * 16000]
    ours(Audio(warm), engine, aligner), theirs(warm, pipe, model, about)
    runs = []
    for _ in range(2 if args.quick else 3):
        a, mine = ours(Audio(samples), engine, aligner)
        b, its = theirs(samples, pipe, model, about)
        runs.append({"ours": a, "whisperx": b})
        print({k: round(v, 2) for k, v in a.items()}, {k: round(v, 2) for k, v in b.items()}, flush=True)
    (mine_s, mine_mb), (its_s, its_mb) = (None, None), (None, None)
    if not args.quick:
        with tempfile.TemporaryDirectory() as d:
            (mine_s, mine_mb), (its_s, its_mb) = folder(Path(d))
    ratio = min(sum(r["whisperx"].values()) for r in runs) / min(sum(r["ours"].values()) for r in runs)
    keep("end_to_end", {
        "ratio": round(ratio, 2), "folder_ratio": round(its_s / mine_s, 2) if its_s else None,
        "peak_mb_ours": mine_mb and round(mine_mb), "peak_mb_whisperx": its_mb and round(its_mb),
        "words_ours": round(found(said, plain(" ".join(mine))), 4), "words_whisperx": round(found(said, plain(" ".join(its))), 4),
        "folder_s_ours": mine_s and round(mine_s, 1), "folder_s_whisperx": its_s and round(its_s, 1)}, args.quick, runs)


if __name__ == "__main__":
    main()
