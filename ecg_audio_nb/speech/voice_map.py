"""The picture that `voices.Linked` shows: how alike the speakers of many files are, each to be heard by a click"""
import base64, io
from html import escape
from ecg_audio_nb.core.html import colours

_STYLE = """<style>
.ecg-voices { font: 13px system-ui, sans-serif; overflow-x: auto; color: #1a1a1a; background: #fff; padding: 4px }
.ecg-voices table { border-collapse: collapse; margin: 6px 0 }
.ecg-voices td, .ecg-voices th { border: 0; padding: 0 3px; height: 26px; text-align: center; font-weight: normal; background: #fff; color: #1a1a1a }
.ecg-voices td.score { width: 36px; min-width: 36px; border: 1px solid #fff; font-variant-numeric: tabular-nums }
.ecg-voices td.said, .ecg-voices th.said { text-align: left; white-space: nowrap; padding-right: 10px }
.ecg-voices button { font: inherit; border: 0; border-left: 5px solid; background: #f2f2f2; padding: 3px 8px; cursor: pointer; color: inherit }
.ecg-voices button:hover, .ecg-voices button:focus-visible { background: #dfe9f5 }
</style>"""


def _mp3(samples, rate): # 3 kB a second
    import av, numpy as np
    from fractions import Fraction
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, bit_rate=24000, layout="mono")
        whole = (np.clip(samples * (0.9 / max(float(abs(samples).max(initial=0)), 1e-6)), -1, 1)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        fifo = av.AudioFifo()
        fifo.write(frame)
        while (part := fifo.read(stream.codec_context.frame_size or 576, partial=True)) is not None:
            for packet in stream.encode(part): container.mux(packet)
        for packet in stream.encode(None): container.mux(packet)
    return out.getvalue()


def _said(link): # the answer in words
    if link.score is None: return f"too little speech ({link.seconds:.1f} s)" if link.seconds < 5 else "nobody to compare with"
    if link.answer == "perhaps": return f"perhaps {link.perhaps} ({link.score:.2f})"
    return f"{link.answer} ({link.score:.2f})"


def _cell(score, row, column): # blue from 0 to 1, as the similarity plots have it
    share = min(max(score, 0), 1)
    r, g, b = (round(255 + share * (dark - 255)) for dark in (8, 48, 107))
    ink = "#fff" if share > 0.55 else "#1a1a1a"
    return f'<td class="score" style="background:rgb({r},{g},{b});color:{ink}" title="{escape(row)} and {escape(column)}">{score:.2f}</td>'


def page(links, scores, clips, rate, skipped): # of the speakers in the order of the rows -> HTML that needs nothing else
    names = [f"{x.file} · {x.speaker_id}" for x in links]
    paint = colours(dict.fromkeys(x.person for x in links))
    rows = []
    for n, (link, name, clip) in enumerate(zip(links, names, clips), 1):
        sound = ""
        if clip is not None and len(clip):
            sound = f'<audio preload="none" src="data:audio/mpeg;base64,{base64.b64encode(_mp3(clip, rate)).decode()}"></audio>'
        play = (f'<button style="border-color:{paint[link.person]}" title="hear it" '
                f'onclick="document.querySelectorAll(\'.ecg-voices audio\').forEach(a=>a.pause());'
                f'var a=this.nextElementSibling;if(a){{a.currentTime=0;a.play()}}">{escape(name)}</button>{sound}')
        cells = "".join(_cell(s, name, other) for s, other in zip(scores[n - 1], names))
        rows.append(f'<tr><th>{n}</th><td class="said">{play}</td><td class="said">{escape(link.person or "–")}</td>{cells}'
                    f'<td class="said">{escape(_said(link))}</td></tr>')
    head = "".join(f"<th>{n}</th>" for n in range(1, len(links) + 1))
    people = len({x.person for x in links} - {None})
    notes = "".join(f"<div>not compared: {escape(line)}</div>" for line in skipped)
    return (f'{_STYLE}<div class="ecg-voices"><div>{len(links)} speakers of {len({x.file for x in links})} files, {people} people. '
            f'A click on a name plays up to 5 s.</div><table><tr><th></th><th class="said">file · speaker</th>'
            f'<th class="said">person</th>{head}<th></th></tr>{"".join(rows)}</table>{notes}</div>')
