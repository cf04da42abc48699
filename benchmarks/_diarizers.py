"""One diarizer over a folder of WAV files, in a process and a Python of its own

    PYTHON benchmarks/_diarizers.py product|senko|pyannote FOLDER ANSWER.json

Writes, for each file its turns (start, end, speaker) and the seconds they took, models loaded. Each is
used as its users do: with its defaults, the number of speakers unknown. pyannote needs the weights of
community-1 in the
hub's cache.
"""

import json
import sys
import time
from pathlib import Path


def product():
    from ecg_audio_nb.speech.diarize import diarize
    from ecg_audio_nb.audio.media import load_audio
    from ecg_audio_nb.speech.vad import detect_speech

    def turns(path):
        audio = load_audio(path)
        return [(t.start_time, t.end_time, t.speaker_id) for t in diarize(audio, detect_speech(audio)).turns]

    return turns


def senko():
    from senko import Diarizer

    diarizer = Diarizer(device="cpu", warmup=False, quiet=True)

    def turns(path):
        found = diarizer.diarize(str(path), generate_colors=False)
        return [(s["start"], s["end"], s["speaker"]) for s in (found or {}).get("merged_segments", [])]

    return turns


def pyannote():
    from pyannote.audio import Pipeline

    pipeline = Pipeline.from_pretrained("pyannote/speaker-diarization-community-1")

    def turns(path):
        found = pipeline(str(path)).speaker_diarization
        return [(s.start, s.end, who) for s, _, who in found.itertracks(yield_label=True)]

    return turns


def main():
    kind, folder, answers = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    turns, found = {"product": product, "senko": senko, "pyannote": pyannote}[kind](), {}
    paths = sorted(folder.glob("*.wav"))
    turns(paths[0])  # everything loaded
    for path in paths:
        start = time.perf_counter()
        answer = turns(path)
        found[path.stem] = {"turns": answer, "seconds": time.perf_counter() - start}
    answers.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
