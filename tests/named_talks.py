"""Talks of known readers through `ecg batch`: names from voice prints, and the same people without prints

The number and the length of the talks are the callers' choice: few in `tests/speech`, many in `tests/soak`."""
import csv, json, shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
from typer.testing import CliRunner

from ecg_audio_nb.cli import app
from ecg_audio_nb.schema import read_result
from readers import conversations, read_utterance

RATE = 16000
LIGHT = {"engine": "whisper", "transcribe.enabled": False, "runtime.offline": True}


def ecg(*args): return CliRunner().invoke(app, [str(a) for a in args])


def reader_says(folder, reader, numbers, pause=0.3):
    "Utterances of a LibriSpeech reader, one after the other"
    paths = sorted(folder.glob(f"{reader}-*.flac"))
    between = np.zeros(int(pause * RATE), np.float32)
    return np.concatenate([x for n in numbers for x in (read_utterance(paths[n]).samples, between)])


def write_wav(path, samples):
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def write_talks(folder, n, seconds):
    "Talks of two LibriSpeech readers by three channels; by name, their true turns"
    people = {}
    with conversations() as talk:
        bank = {k: paths[::2] for k, paths in talk.librispeech_voices().items()}
        for i in range(n):
            channel = ("clean", "telephone", "room")[i % 3]
            audio, turns = talk.conversation(900 + i, bank, 2, seconds, channel)
            write_wav(folder / f"talk{i}.wav", audio.samples)
            people[f"talk{i}"] = turns
    return people


def talks_through_a_batch(folder, shared_data, talks, seconds, known_from):
    "The talks as `ecg batch` leaves them, with their readers known from these of their other utterances"
    media, out, prints = folder / "talks", folder / "out", folder / "voices"
    media.mkdir()
    truth = write_talks(media, talks, seconds)
    for reader in sorted({w for turns in truth.values() for *_, w in turns}):
        wav = write_wav(
            folder / f"{reader}.wav", reader_says(shared_data / "librispeech", reader, known_from)
        )
        done = ecg("voices", "add", f"Reader {reader}", wav, "--voices", prints)
        assert done.exit_code == 0, done.output
    given = LIGHT | {"diarize.voices": prints, "export.formats": "json,csv"}
    done = ecg("batch", media, "-o", out, *[x for k, value in given.items() for x in ("--set", f"{k}={value}")])
    assert done.exit_code == 0, done.output
    results = {n: read_result(out / n / f"{n}.json") for n in truth}
    return SimpleNamespace(out=out, prints=prints, truth=truth, media=media, results=results)


def true_person(turns, truth):
    "Who spoke most within these turns"
    def shared(name):
        return sum(
            max(0, min(t.end_time, e) - max(t.start_time, s)) for t in turns for s, e, w in truth if w == name
        )
    return max(sorted({w for *_, w in truth}), key=shared)


def check_names(batch):
    "Every speaker has the reader's name"
    wrong = {}
    for n, a in batch.results.items():
        real = {
            s.speaker_id: "Reader "
            + true_person([t for t in a.turns if t.speaker_id == s.speaker_id], batch.truth[n])
            for s in a.speakers
        }
        if {s.speaker_id: s.name for s in a.speakers} != real:
            wrong[n] = [(s.name, real[s.speaker_id], s.match) for s in a.speakers]
    assert not wrong


def check_links(batch, folder):
    "`ecg voices link --rename` finds who is who, and writes its table and the names, nothing else"
    out = folder / "results"
    shutil.copytree(batch.out, out)
    for n in batch.truth: # as if nobody had been known
        path = out / n / f"{n}.json"
        d = json.loads(path.read_text())
        for s in d["speakers"]: s["name"] = s["match"] = None
        path.write_text(json.dumps(d))
    before = {p for p in out.rglob("*")}
    done = ecg("voices", "link", out, "--media", batch.media, "--rename")
    assert done.exit_code == 0, done.output
    new = {p for p in out.rglob("*")} - before
    assert new == {out / "voices.csv"}, new
    rows = list(csv.DictReader((out / "voices.csv").open(encoding="utf-8-sig")))
    people = {}
    for r in rows:
        n = Path(r["file"]).name
        turns = [t for t in batch.results[n].turns if t.speaker_id == r["speaker_id"]]
        if r["person"]: people.setdefault(r["person"], set()).add(true_person(turns, batch.truth[n]))
        name = {s.speaker_id: s.name for s in read_result(out / f"{r['file']}.json").speakers}
        assert name[r["speaker_id"]] == (r["person"] or None)
    assert all(len(real) == 1 for real in people.values()) # nobody is two people
    readers = {w for turns in batch.truth.values() for *_, w in turns}
    assert len(people) <= len(readers) + 2 # and few are torn
