"""Speech detection and recognition with real Whisper weights on the CPU: ours, WhisperX, faster-whisper

    python benchmarks/end_to_end.py [--quick] [--rounds N]

Files: 390 s (50 utterances of LibriSpeech, 0.6 s of silence after each) and 10 minutes of splices of them.
Models are loaded and warm, the rounds alternate, the fastest of three (`--rounds`) counts; all use int8, beam
5 and every processor core.

- `ratio_base`, `ratio_tiny_en`: how many times faster ours is than WhisperX 3.8 (its own chunks of 30 s,
  batches of 8), both files together; `ratio_batched_base`, `ratio_batched_tiny_en`: than faster-whisper in
  batches of 8; `ratio_sequential_base`, `ratio_sequential_tiny_en`: than faster-whisper in sequence with
  silero's speech activity;
- `cpu_ratio_...`: the same of processor seconds of one round, which another load on the machine disturbs
  less;
- `deleted`, `wer`: of the 390 s file's 884 words, how many each leaves out, and its word error rate, percent;
  by model and tool.

Whole commands on the 10 minutes, from start to written files, each with a process of its own:

- `command_ratio_base`, `command_ratio_tiny_en`: how many times faster `ecg analyze` is than the `whisperx`
  command with `--no_align`; both without speakers. Ours aligns its words all the same;
- `command_mb_ours`, `command_mb_whisperx`: peak memory, by model;
- `chain_s_base`, `chain_s_tiny_en`: `ecg analyze` with everything: words, times, speakers, voices, all usual
  files.

Details: every round, and `stages`: seconds of each stage of the whole chain, from `metadata.timing`; stages
that run at the same time on two cores add up to more than the whole. With --quick: 20 s, tiny.en, ours
against faster-whisper in batches.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from _common import cores, keep, measured, options
from _peers import MODELS, WHISPERX, FasterWhisper, WhisperX, weights
from _speech import joined, librispeech, talk, write_wav

from ecg_audio_nb.research.error_rates import wer
from ecg_audio_nb.audio.media import Audio
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import choose_transcriber
from ecg_audio_nb.speech.vad import SPEECH_STEP, detect_speech


class Ours:
    "Speech activity and recognition as the pipeline runs them without speakers"

    def __init__(self, model):
        chosen = {
            "engine": "whisper",
            "transcribe.model": model,
            "transcribe.language": "en",
            "runtime.device": "cpu",
        }
        self.engine = choose_transcriber(load_settings(chosen))[0]

    def __call__(self, samples):
        audio = Audio(samples)
        return " ".join(
            w.word
            for w in self.engine.transcribe(audio, detect_speech(audio, step=SPEECH_STEP).speech, "en").words
        )


def tools(model, quick):
    "Name to what turns samples into text"
    found = {"ours": Ours(model)}
    if not quick:
        found["whisperx"] = WhisperX(model)
        found["sequential"] = FasterWhisper(model, batched=False)
    found["batched"] = FasterWhisper(model)
    return found


def clocked(work, samples):
    wall, cpu = time.perf_counter(), time.process_time()
    text = work(samples)
    return {
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
    }, text


def race(model, files, rounds, quick):
    "Every tool over every file, in turn: rounds, and the last round's texts by tool and file"
    found, texts, times = tools(model, quick), {}, []
    for work in found.values():
        work(files[0].audio.samples[: 10 * 16000])
    for i in range(rounds):
        for clip in files:
            row = {"model": model, "file": clip.name, "round": i}
            for name, work in found.items():
                row[name], texts[name, clip.name] = clocked(work, clip.audio.samples)
            times.append(row)
            print(row, flush=True)
    return times, texts


def fastest(times, tool, files, key="wall_s"):
    "Seconds over all files, the best round of each"
    return sum(min(row[tool][key] for row in times if row["file"] == clip.name) for clip in files)


def ratios(model, times, files, quick):
    "How many times faster ours is than each"
    figures, name = {}, model.replace(".", "_")
    for tool, word in (("whisperx", ""), ("batched", "batched_"), ("sequential", "sequential_")):
        if tool in times[0]:
            for prefix, key in (("", "wall_s"), ("cpu_", "cpu_s")):
                ratio = fastest(times, tool, files, key) / fastest(times, "ours", files, key)
                figures[f"{prefix}ratio_{word}{name}"] = round(ratio, 2)
    return figures


def losses(model, texts, clip):
    "Words left out, and the word error rate, of each tool"
    found = {tool: wer(clip.text, text, "en") for (tool, name), text in texts.items() if name == clip.name}
    return {
        t: {
            "deleted": w.deletions,
            "wer": round(100 * w.wer, 2),
            "substituted": w.substitutions,
            "inserted": w.insertions,
        }
        for t, w in found.items()
    }


# ---- whole commands


def ecg(file, out, model, *more):
    chosen = {
        "transcribe.model": model,
        "transcribe.language": "en",
        "runtime.device": "cpu",
        "runtime.offline": "true",
    }
    lines = [f"--set={k}={v}" for k, v in chosen.items()]
    return [
        sys.executable,
        "-m",
        "ecg_audio_nb",
        "analyze",
        str(file),
        "-o",
        str(out),
        "--engine",
        "whisper",
        *lines,
        *more,
    ]


def whisperx_command(file, out, model):
    return [
        sys.executable,
        "-c",
        WHISPERX,
        str(file),
        "--model",
        str(weights(model)),
        "--device",
        "cpu",
        "--compute_type",
        "int8",
        "--language",
        "en",
        "--no_align",
        "--output_dir",
        str(out),
        "--threads",
        str(cores()),
    ]


def commands(minutes, models):
    "Whole commands: by model, ours without speakers, WhisperX, and the whole chain with its stages"
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "talk.wav"
        write_wav(file, talk(minutes).audio.samples)
        for model in models:
            ours = measured(ecg(file, Path(folder) / "ours", model, "--set=diarize.enabled=false"))
            peer = measured(whisperx_command(file, Path(folder) / "theirs", model))
            chain = measured(ecg(file, Path(folder) / "chain", model))
            result = json.loads((Path(folder) / "chain/talk.json").read_text(encoding="utf-8"))
            rows[model] = {
                "ours": ours,
                "whisperx": peer,
                "chain": chain,
                "stages": result["metadata"]["timing"],
            }
            print(model, rows[model], flush=True)
    return rows


def main():
    args = options(__doc__, rounds={"type": int, "default": 3, "help": "how often each tool hears each file"})
    models = ("tiny.en",) if args.quick else MODELS
    files = [joined(librispeech()[:3])] if args.quick else [joined(librispeech()), talk(10)]
    figures, details = {}, {"rounds": [], "lost": {}}
    for model in models:
        times, texts = race(model, files, 1 if args.quick else args.rounds, args.quick)
        figures |= ratios(model, times, files, args.quick)
        details["rounds"] += times
        details["lost"][model] = losses(model, texts, files[0])
        print(model, details["lost"][model], flush=True)
    for key, column in (("deleted", "deleted"), ("wer", "wer")):
        figures[key] = {
            m: {tool: row[column] for tool, row in lost.items()} for m, lost in details["lost"].items()
        }
    rows = {} if args.quick else commands(10, MODELS)
    for model, row in rows.items():
        name = model.replace(".", "_")
        figures[f"command_ratio_{name}"] = round(row["whisperx"]["seconds"] / row["ours"]["seconds"], 2)
        figures[f"chain_s_{name}"] = row["chain"]["seconds"]
    if rows:
        for tool in ("ours", "whisperx"):
            figures[f"command_mb_{tool}"] = {m: row[tool]["peak_mb"] for m, row in rows.items()}
        figures["chain_mb"] = {m: row["chain"]["peak_mb"] for m, row in rows.items()}
    figures["rounds"] = 1 if args.quick else args.rounds
    keep("end_to_end", figures, args.quick, {**details, "commands": rows})


if __name__ == "__main__":
    main()
