"""The docs' pictures: no word covers another, the film's pictures are small and name their source"""

import re
from itertools import combinations
from pathlib import Path

import nbformat
import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed (extra lab): no picture is looked at")
ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "nbs/images"
CREDIT = "*Sintel*, © Blender Foundation, [www.sintel.org](https://www.sintel.org), [CC BY 3.0]"


def test_no_word_of_the_first_picture_covers_another(sample, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    make_hero = pytest.importorskip("make_hero", reason="matplotlib is not installed (extra lab)")
    from ecg_audio_nb import analyze
    from ecg_audio_nb.audio.media import load_audio

    fig = make_hero.draw(analyze(sample, profile="demo"), load_audio(sample))
    words, frame = fig.axes[0].texts, fig.axes[0].get_window_extent()
    boxes = [(word.get_text(), word.get_window_extent()) for word in words]
    assert len(boxes) > 10 and min(word.get_size() for word in words) >= 7
    assert [(a, b) for (a, x), (b, y) in combinations(boxes, 2) if x.overlaps(y)] == []
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for _, box in boxes)


def test_the_loop_is_short_small_and_shows_words_light_up():
    path = IMAGES / "captions.webp"
    assert path.stat().st_size < 1_500_000
    loop = Image.open(path)
    assert loop.size == (960, 408) and loop.info["loop"] == 0
    seconds, blue = 0.0, []
    for frame in range(loop.n_frames):
        loop.seek(frame)
        loop.load()
        seconds += loop.info["duration"] / 1000
        red, green, other = np.asarray(loop.convert("RGB"))[310:392, 280:680].astype(int).transpose(2, 0, 1)
        blue.append(((other > 150) & (other - red > 60)).sum())
    assert 2 < seconds < 5
    assert blue[0] < 50 and max(blue) > 1500
    # more and more of it, until the caption goes
    up = blue[: blue.index(max(blue))]
    assert all(b > 0.9 * a - 50 for a, b in zip(up, up[1:])) and len({value // 200 for value in up}) > 5


def shown_in():
    "Each page that shows a picture of the film, with the text after the picture"
    for path in [ROOT / "README.md", *ROOT.glob("nbs/**/*.ipynb")]:
        text = path.read_text("utf-8")
        if path.suffix == ".ipynb":
            text = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        for picture in re.finditer(r"!\[[^\]]*\]\([^)]*captions\.(png|webp)\)", text):
            yield path.name, text[picture.end() :]


def test_the_film_is_named_beside_each_picture_of_it():
    pages = list(shown_in())
    assert {"README.md", "31_captions.ipynb", "captions.ipynb"} <= {name for name, _ in pages}
    for name, text in pages:
        assert CREDIT in text.strip().split("\n")[0], name
    assert "CC BY 3.0" in (ROOT / "tests/fixtures/film/README.md").read_text("utf-8")
