"""Measure 50 sentences of five readers: the table and the pictures of the docs that need real voices.

    python scripts/make_five_readers.py DIR

DIR holds recordings named SPEAKER-CHAPTER-NUMBER.flac and `transcripts.json` with their texts: 50 utterances
of LibriSpeech's `test-other` (CC BY 4.0, https://www.openslr.org/12). As the texts are given, no word is
misheard; their times come from the packaged phone aligner. Needs the `[lab]` extra. Writes

    nbs/guides/five_readers.parquet   `research.table` of the words
    nbs/images/vowel_space.png, voice_range.png, prosody_strip.png
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecg_audio_nb import analyze
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.pipeline import ArtifactHook
from ecg_audio_nb.research.table import table, table_columns
from ecg_audio_nb.results.voice_plots import plot_prosody_strip, plot_voice_range, plot_vowel_space
from ecg_audio_nb.schema import Analysis, Metadata, ModelInfo, Turn, Word
from ecg_audio_nb.speech.transcribe import Transcript
from ecg_audio_nb.voice.acoustics import frames, refine_f0

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"acoustics.features": "full", "acoustics.adaptive": True, "diarize.num_speakers": 1}
SHOWN = "1688-142285-0001"  # in the prosody strip


class GivenText:
    "A transcriber that knows the text"

    def __init__(self, text):
        self.words = tuple(Word(word) for word in text.split())

    def transcribe(self, audio, regions, language="auto", on_progress=lambda fraction: None):
        return Transcript(self.words, ModelInfo("given", "transcripts.json"), language="en")


def measure(clip, text):
    "Analyze a sentence of one reader -> the result, in which the reader has a name, and its frames"
    kept = ArtifactHook()
    result = analyze(clip, SETTINGS, kept, profile="demo", engines={"transcribe": GivenText(text)})
    reader = f"reader {clip.stem.partition('-')[0]}"
    return replace(result, speakers=tuple(replace(s, name=reader) for s in result.speakers)), kept.frames


def in_a_row(clips):
    "Put the sentences one after the other -> their turns as a result, and their frames"
    samples, turns, at = [], [], 0.0
    for clip in clips:
        audio = load_audio(clip)
        turns.append(Turn(at, at + audio.duration, f"reader {clip.stem.partition('-')[0]}"))
        samples += [audio.samples, np.zeros(8000, np.float32)]
        at += audio.duration + 0.5
    samples = np.concatenate(samples)
    spans = [(t.start_time, t.end_time, t.speaker_id) for t in turns]
    result = Analysis((), tuple(turns), (), Metadata("50 sentences", duration=at))
    return result, refine_f0(frames(samples), samples, spans)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args().folder
    texts = json.loads((folder / "transcripts.json").read_text(encoding="utf-8"))
    clips = [folder / f"{name}.flac" for name in sorted(texts)]
    images = ROOT / "nbs/images"
    with tempfile.TemporaryDirectory() as results:
        for clip in clips:
            result, measured = measure(clip, texts[clip.stem])
            result.save(Path(results) / f"{clip.stem}.json")
            if clip.stem == SHOWN:
                strip = plot_prosody_strip(result, measured)
        wanted = [c for c in table_columns() if c != "source_sha256" and not c.startswith("mfcc")]
        words = table(results, columns=wanted)
    words.to_parquet(ROOT / "nbs/guides/five_readers.parquet", compression="zstd")
    pictures = {
        "vowel_space": plot_vowel_space(words),
        "voice_range": plot_voice_range(*in_a_row(clips)),
        "prosody_strip": strip,
    }
    for name, figure in pictures.items():
        (images / f"{name}.png").write_bytes(figure._repr_png_())


if __name__ == "__main__":
    main()
