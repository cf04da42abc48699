"""Draw how alike the speakers of many files are, each to be played by a click: `LinkedSpeakers` as HTML"""

import base64
import io
from html import escape

from ecg_audio_nb.core.html import colours

_STYLE = """<style>
.ecg-voices { font: 13px system-ui, sans-serif; overflow-x: auto; color: #1a1a1a;
  background: #fff; padding: 4px }
.ecg-voices table { border-collapse: collapse; margin: 6px 0 }
.ecg-voices td, .ecg-voices th { border: 0; padding: 0 3px; height: 26px; text-align: center;
  font-weight: normal; background: #fff; color: #1a1a1a }
.ecg-voices td.score { width: 36px; min-width: 36px; border: 1px solid #fff;
  font-variant-numeric: tabular-nums }
.ecg-voices td.text, .ecg-voices th.text { text-align: left; white-space: nowrap; padding-right: 10px }
.ecg-voices button { font: inherit; border: 0; border-left: 5px solid; background: #f2f2f2; padding: 3px 8px;
  cursor: pointer; color: inherit }
.ecg-voices button:hover, .ecg-voices button:focus-visible { background: #dfe9f5 }
</style>"""

_PLAY = (
    "document.querySelectorAll('.ecg-voices audio').forEach(a=>a.pause());"
    "var a=this.nextElementSibling;if(a){a.currentTime=0;a.play()}"
)


def encode_mp3(samples, rate: int) -> bytes:
    "Encode mono samples, float32 of shape (n,), as MP3 of 3 kB a second, at a peak of 0.9"
    from fractions import Fraction

    import av
    import numpy as np

    peak = float(abs(samples).max(initial=0))
    scaled = np.clip(samples * (0.9 / max(peak, 1e-6)), -1, 1).astype(np.float32)
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, bit_rate=24000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(scaled[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fifo = av.AudioFifo()
        fifo.write(frame)
        while True:
            part = fifo.read(stream.codec_context.frame_size or 576, partial=True)
            for packet in stream.encode(part):  # None: the end
                container.mux(packet)
            if part is None:
                break
    return out.getvalue()


def _answer(link) -> str:
    if link.score is None:
        return f"too little speech ({link.seconds:.1f} s)" if link.seconds < 5 else "nobody to compare with"
    answer = f"perhaps {link.perhaps}" if link.answer == "perhaps" else link.answer
    return f"{answer} ({link.score:.2f})"


def _cell(score: float, row: str, column: str) -> str:
    "A score as a cell, white at 0 to dark blue at 1, as the similarity plots have it"
    depth = min(max(score, 0), 1)
    r, g, b = (round(255 + depth * (dark - 255)) for dark in (8, 48, 107))
    ink = "#fff" if depth > 0.55 else "#1a1a1a"
    style = f"background:rgb({r},{g},{b});color:{ink}"
    return f'<td class="score" style="{style}" title="{escape(row)} and {escape(column)}">{score:.2f}</td>'


def _play_button(name: str, colour: str, clip, rate: int) -> str:
    "A button that plays the clip, if there is one"
    style = f"border-color:{colour}"
    button = f'<button style="{style}" title="hear it" onclick="{_PLAY}">{escape(name)}</button>'
    if clip is None or not len(clip):
        return button
    mp3 = base64.b64encode(encode_mp3(clip, rate)).decode()
    return f'{button}<audio preload="none" src="data:audio/mpeg;base64,{mp3}"></audio>'


def page(
    links,  # `SpeakerLink`s, in the order of the rows
    scores,  # similarity of each with each, rows of floats
    clips,  # samples of each to play, float32; None: nothing
    rate: int,  # of the clips, Hz
    skipped,  # lines: results that were not compared
) -> str:
    "Return the table as HTML that needs nothing else"
    names = [f"{x.file} · {x.speaker_id}" for x in links]
    colour_of = colours(dict.fromkeys(x.person for x in links))
    rows = []
    for n, (link, name, clip) in enumerate(zip(links, names, clips), 1):
        button = _play_button(name, colour_of[link.person], clip, rate)
        cells = "".join(_cell(score, name, other) for score, other in zip(scores[n - 1], names))
        rows.append(
            f'<tr><th>{n}</th><td class="text">{button}</td><td '
            f'class="text">{escape(link.person or "–")}</td>'
            f'{cells}<td class="text">{escape(_answer(link))}</td></tr>'
        )
    head = "".join(f"<th>{n}</th>" for n in range(1, len(links) + 1))
    files, people = len({x.file for x in links}), len({x.person for x in links} - {None})
    notes = "".join(f"<div>not compared: {escape(line)}</div>" for line in skipped)
    return (
        f'{_STYLE}<div class="ecg-voices"><div>{len(links)} speakers of {files} files, {people} people. '
        f'A click on a name plays up to 5 s.</div><table><tr><th></th><th class="text">file · speaker</th>'
        f'<th class="text">person</th>{head}<th></th></tr>{"".join(rows)}</table>{notes}</div>'
    )
