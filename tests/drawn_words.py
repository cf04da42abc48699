"""Where libass puts each word of a caption: one word a frame, drawn by ffmpeg white on black

The product's own .ass text is taken apart at the commands that begin each word (`{\\1c`); in frame n all words
but the n-th are transparent, so the layout is that of the whole caption and the ink is of one word alone.
"""

import re, shutil, subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pysubs2 import SSAFile, make_time

INK = 96  # of 255: what counts as a letter


@dataclass(frozen=True)
class DrawnWord:
    "One word of a caption as libass draws it"
    text: str
    line: int  # as the .ass text has it; 0 is the topmost
    size: float  # its \\fs, pixels; 0 if it has none
    slant: float  # its \\fax, to the right
    ink: np.ndarray  # bool, shape (height, width)

    @property
    def box(self):  # left, top, right, bottom: the last two are the first pixels without ink
        rows, columns = np.flatnonzero(self.ink.any(1)), np.flatnonzero(self.ink.any(0))
        return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1

    @property
    def height(self):
        return self.box[3] - self.box[1]


def tagged_words(text):
    "Cut an event's text at the commands that begin each word: (commands, text, line) of each"
    words, line = [], 0
    for piece in re.split(r"(?=\{\\1c)", text):
        if not piece:
            continue
        plain = re.sub(r"\{[^}]*\}", "", piece).replace("\\N", "")
        words.append((piece, plain.strip(), line))
        line += piece.count("\\N")
    return words


def _alone(words, shown):
    "An event's text of which one word is visible"
    pieces = []
    for i, (piece, _, _) in enumerate(words):
        alpha = "00" if i == shown else "FF"
        colour = r"\\1c&HFFFFFF&\\1a&H" + alpha + r"&\\3a&HFF&\\4a&HFF&"
        piece = re.sub(r"\\1c&H[0-9A-F]{6}&(?:\\t\([^)]*&\))?", colour, piece, count=1)
        pieces.append(piece)
    return "".join(pieces)


def has_font(language):
    "Whether the system has a font for a language"
    tool = shutil.which("fc-list")
    return bool(tool and subprocess.run([tool, f":lang={language}"], capture_output=True).stdout)


def captions_of(ass):
    "The events of an .ass text, each caption once: the first of those that show the same words"
    found = {}
    for event in SSAFile.from_string(ass):
        shape = re.sub(r"\\1c&H[0-9A-F]{6}&|\\t\([^)]*&\)", "", event.text), event.marginv, event.layer
        found.setdefault(shape, event)
    return list(found.values())


def draw_events(subtitles, frames, size):
    "Draw an SSAFile, a frame each 40 ms, grey: shape (frames, height, width)"
    width, height = size
    with TemporaryDirectory() as folder:
        (Path(folder) / "a.ass").write_text(subtitles.to_string("ass", header_notice=""), "utf-8")
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"color=black:s={width}x{height}:r=25",
                   "-frames:v", str(frames), "-vf", "ass=a.ass", "-pix_fmt", "gray", "-f", "rawvideo", "-"]
        raw = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(frames, height, width)


def draw_words(ass, size, events=None):
    "Each caption of an .ass text as a list of `DrawnWord`"
    source = SSAFile.from_string(ass)
    events = captions_of(ass) if events is None else events
    plan = [(c, i) for c, event in enumerate(events) for i in range(len(tagged_words(event.text)))]
    picture = SSAFile()
    picture.info, picture.styles = source.info, source.styles
    for style in picture.styles.values():
        style.borderstyle, style.backcolor.a = 1, 255
    for n, (c, i) in enumerate(plan):
        event = events[c].copy()
        event.start, event.end, event.layer = make_time(ms=40 * n), make_time(ms=40 * n + 40), 0
        event.text = _alone(tagged_words(event.text), i)
        picture.append(event)
    frames = draw_events(picture, len(plan), size)
    drawn = [[] for _ in events]
    for frame, (c, i) in zip(frames, plan):
        commands, text, line = tagged_words(events[c].text)[i]
        fs, fax = re.search(r"\\fs([0-9.]+)", commands), re.search(r"\\fax(-?[0-9.]+)", commands)
        ink = frame > INK
        if ink.any():
            size, slant = (float(found[1]) if found else 0.0 for found in (fs, fax))
            drawn[c].append(DrawnWord(text, line, size, -slant, ink))
    return drawn


def ink_distance(a, b):
    "The least distance between the ink of two words, pixels; 0 where they touch or overlap"
    from scipy.ndimage import distance_transform_edt

    if (a & b).any():
        return 0.0
    left, top, right, bottom = DrawnWord("", 0, 0, 0, a | b).box
    part = slice(top, bottom), slice(left, right)
    return float(distance_transform_edt(~a[part])[b[part]].min()) - 1


def neighbours(words):
    "Pairs of words that stand beside each other in one line, from left to right"
    for line in sorted({w.line for w in words}):
        row = sorted((w for w in words if w.line == line), key=lambda w: w.box[0] + w.box[2])
        yield from zip(row, row[1:])
