"""Draw the docs' picture of what `plots` draws, from the packaged sample.

    python scripts/make_plots.py [--out nbs/images/plots.png]

Needs the `[lab]` extra.
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ecg_audio_nb import analyze
from ecg_audio_nb.voice.acoustics import frames
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.results.plots import plot_speakers, plot_talk_time, plot_voice, plot_waveform

ROOT = Path(__file__).resolve().parents[1]
START, END = 17.0, 29.0  # seconds of the sample


def draw(result, audio):
    "Draw the pictures one below the other"
    figures = (
        plot_waveform(result, audio, START, END),
        plot_voice(result, frames(audio.samples, audio.sample_rate), START, END),
        plot_speakers(result),
        plot_talk_time(result),
    )
    parts = [np.asarray(Image.open(BytesIO(f._repr_png_())).convert("RGB")) for f in figures]
    return Image.fromarray(np.concatenate(parts)).quantize(64, dither=Image.Dither.NONE)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images/plots.png")
    sample = ROOT / "ecg_audio_nb/assets/sample.mp4"
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    draw(analyze(sample, profile="demo"), load_audio(sample)).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
