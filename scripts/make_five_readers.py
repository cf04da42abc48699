"""Measure 50 sentences of five readers: the table and the pictures of the docs that need real voices.

    python scripts/make_five_readers.py DIR [--results RESULTS]

DIR holds recordings named SPEAKER-CHAPTER-NUMBER.flac and `transcripts.json` with their texts, as LibriSpeech's
`test-other` does (CC BY 4.0, https://www.openslr.org/12). The texts are given, so no word is misheard; the times
come from the packaged phone aligner. Needs the `[lab]` extra. Writes

    nbs/guides/five_readers.parquet   `research.table.table`: every word with everything that is measured of it
    nbs/images/vowel_space.png, voice_range.png, prosody_strip.png
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from ecg_audio_nb import analyze
from ecg_audio_nb.schema import ModelInfo, Speaker, Turn, Word, renamed
from ecg_audio_nb.speech.transcribe import Transcript

ROOT = Path(__file__).resolve().parents[1]
READERS = {"367": "Ada", "1688": "Ben", "2033": "Cleo", "2414": "Dan", "3005": "Eve"}
SETTINGS = {"acoustics.features": "full", "diarize.enabled": False, "engine": "whisper"}


class GivenText:
    "A transcriber that knows the text"

    def __init__(self, text):
        self.words = tuple(Word(word) for word in text.split())

    def transcribe(self, audio, regions, language="auto", on_progress=lambda fraction: None):
        return Transcript(self.words, ModelInfo("given", "transcripts.json"), language="en")
