"""Draw the README's picture from the packaged sample: python scripts/make_hero.py [--out nbs/images/hero.png]

Every word stands where it was said, as high as its voice, as large as it was loud, in its speaker's colour;
all of it measured. All letters shrink until no word covers another; their places stay. Needs the extra `lab`.
"""

import argparse
from itertools import combinations
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from ecg_audio_nb import analyze
from ecg_audio_nb.core.html import colours
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.speech.vad import SAMPLE_RATE

ROOT = Path(__file__).resolve().parents[1]
START, END = 22.6, 28.2  # seconds of the sample
SPACE = 4  # pixels between two words


def covered(labels):
    "List the pairs of labels that stand less than SPACE apart"
    boxes = [(label, label.get_window_extent().padded(SPACE / 2)) for label in labels]
    return [(a.get_text(), b.get_text()) for (a, x), (b, y) in combinations(boxes, 2) if x.overlaps(y)]


def shrink_until_free(labels):
    "Shrink all labels alike until none covers another; they keep their places, which are measured"
    for _ in range(12):
        if not (pairs := covered(labels)):
            return
        for label in labels:
            label.set_size(label.get_size() * 0.95)
    raise SystemExit(f"words cover each other at half their size: {pairs}. Choose another START and END")


def draw(result, audio):
    colour = colours(s.speaker_id for s in result.speakers)
    fig, (words, wave) = plt.subplots(2, 1, figsize=(12, 4.2), height_ratios=(4, 1), sharex=True)
    levels = [w.acoustic_features.volume_db for w in result.words]
    quiet, loud = np.percentile(levels, (5, 95))
    shown = [w for w in result.words if START <= w.start_time < END and w.acoustic_features.pitch_hz]
    labels = []
    for word in shown:
        voice, middle = word.acoustic_features, (word.start_time + word.end_time) / 2
        size = 10 + 8 * np.clip((voice.volume_db - quiet) / (loud - quiet), 0, 1)
        labels.append(
            words.text(
                middle,
                voice.pitch_hz,
                word.word,
                size=size,
                color=colour[word.speaker_id],
                ha="center",
                va="center",
                weight="bold",
            )
        )
    words.set(ylabel="measured F0, Hz", yscale="log", ylim=(132, 265), yticks=(140, 160, 200, 250))
    words.minorticks_off()
    words.yaxis.set_major_formatter(lambda hz, _: f"{hz:.0f}")
    t = np.arange(len(audio.samples)) / SAMPLE_RATE
    wave.plot(t, audio.samples, color="0.75", lw=0.4)
    for turn in result.turns:
        part = slice(int(turn.start_time * SAMPLE_RATE), int(turn.end_time * SAMPLE_RATE))
        wave.plot(t[part], audio.samples[part], color=colour[turn.speaker_id], lw=0.4)
    wave.set(xlim=(START, END), xlabel="seconds", yticks=[])
    heard = {word.speaker_id for word in shown}
    handles = [plt.Line2D([], [], color=c, lw=6, label=s) for s, c in colour.items() if s in heard]
    words.legend(handles=handles, loc="lower right", ncols=len(handles), frameon=False)
    for ax in (words, wave):
        ax.spines[["top", "right"]].set_visible(False)
    fig.tight_layout()
    shrink_until_free(labels)
    return fig


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images/hero.png")
    sample = ROOT / "ecg_audio_nb/assets/sample.mp4"
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    draw(analyze(sample, profile="demo"), load_audio(sample)).savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
