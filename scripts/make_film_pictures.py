"""Make the docs' pictures of dynamic captions, from a clip of the film Sintel.

    python scripts/make_film_pictures.py [--out nbs/images]

Writes a still, captions.png, and a loop, captions.webp. Needs the extra `offline`, an ffmpeg with libass, and
Pillow (matplotlib brings it). The letters are those that the system has for Arial: fonts-liberation gives its
shapes.

Sintel, (c) Blender Foundation, www.sintel.org, CC BY 3.0: name it wherever the pictures are shown.
"""

import argparse, tempfile
from pathlib import Path

import av

from ecg_audio_nb import analyze
from ecg_audio_nb.results.captions import burn, frame_size, write_captions

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "tests/fixtures/film/sintel_clip.mp4"
START, END = 0.64, 3.56  # seconds of the clip: the loop
AT = 2.5  # seconds of the clip: the still
EVERY = 2  # of the clip's 25 frames a second


def frames(clip, folder):
    "The clip with dynamic captions: (seconds, picture) of each frame"
    result = analyze(clip, language="en")
    captions = write_captions(result, folder / "captions.ass", "dynamic", frame_size(clip))
    with av.open(str(burn(clip, captions, folder / "captioned.mkv"))) as video:
        return [(frame.time, frame.to_image()) for frame in video.decode(video=0)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "nbs/images")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        pictures = frames(CLIP, Path(folder))
    still = next(picture for time, picture in pictures if time >= AT)
    still.save(out / "captions.png", optimize=True)
    first, *rest = [picture for time, picture in pictures if START <= time < END][::EVERY]
    first.save(out / "captions.webp", save_all=True, append_images=rest, duration=40 * EVERY, loop=0,
               quality=70, method=6)


if __name__ == "__main__":
    main()
