"""Alignment: ours and `whisperx.align`, same weights, text and audio, one process.

    python benchmarks/alignment.py [--quick]

- `path_ratio`: how many times faster the search for the path is, over the same emissions (10 minutes in 28 s chunks);
- `whole_ratio`: how many times faster alignment is as a whole, with the tiny model on the CPU;
- `within_20ms`, `ends_within_20ms`: share of words that start (end, but for the last of a segment) within a frame of WhisperX's;
- `boundary_ms_ours`, `boundary_ms_whisperx`: mean error of starts and ends against the truth of the clips, and
  `last_end_ms_ours`, `last_end_ms_whisperx` of the end of a segment's last word;
- `forced_align_s`: what `torchaudio.functional.forced_align` takes for the same search.

Those further apart are listed in the details, with the truth.
"""
import time

import numpy as np
from _common import keep, options
from _tiny import TINY, settings, speech, without_nltk_data

from ecg_audio_nb.align import CtcAligner, align_words, path, spell
from ecg_audio_nb.media import Audio
from ecg_audio_nb.models import Halving
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.transcribe import Transcript


def segments_of(words, total, longest):
    "Consecutive words to segments of at most `longest` seconds, cut in the pauses"
    groups = [[words[0]]]
    for a, b in zip(words, words[1:]):
        if b[2] - groups[-1][0][1] > longest or (b[1] - a[2] > 1.0):
            groups.append([])
        groups[-1].append(b)
    edges = [0.0] + [(a[-1][2] + b[0][1]) / 2 for a, b in zip(groups, groups[1:])] + [total]
    return [(max(s, g[0][1] - 0.2), min(e, g[-1][2] + 0.2), g) for s, e, g in zip(edges, edges[1:], groups)]


def best_of(n, work):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        out = work()
        times.append(time.perf_counter() - start)
    return min(times), out


def main():
    args = options(__doc__)
    import torch
    import torchaudio
    import whisperx.alignment as theirs
    without_nltk_data()
    samples, words = speech(120 if args.quick else 600)
    audio, parts, runs = Audio(samples), segments_of(words, len(samples) / 16000, 28), 2 if args.quick else 3
    aligner = CtcAligner(settings())
    model = aligner.model(aligner.weights("en"))
    peer, about = theirs.load_align_model("en", "cpu", model_name=str(TINY / "wav2vec2"))

    flat = tuple(Word(w) for _, _, g in parts for w, *_ in g)
    said = Transcript(flat, ModelInfo("x", "y"), "en", passages=tuple((s, e, len(g)) for s, e, g in parts))
    given = [{"text": " " + " ".join(w for w, *_ in g), "start": s, "end": e} for s, e, g in parts]
    ours_s, ours = best_of(runs, lambda: align_words(model, audio, said, Halving("align", 1)))
    peer_s, found = best_of(runs, lambda: theirs.align(given, peer, about, samples, "cpu"))
    print(f"whole: {ours_s:.2f} s, whisperx.align {peer_s:.2f} s", flush=True)

    cut = [audio.cut(s, e).samples for s, e, _ in parts]
    emissions = [model.emissions([x])[0] for x in cut]
    tokens = [spell([w for w, *_ in g], model.labels, 10**6)[0] for _, _, g in parts]
    path_s, _ = best_of(runs, lambda: path(emissions, tokens, model.blank))
    tensors = [torch.from_numpy(e) for e in emissions]
    def search():
        for e, t in zip(tensors, tokens):
            theirs.backtrack(theirs.get_trellis(e, t, model.blank), e, t, model.blank)
    def forced():
        for e, t in zip(tensors, tokens):
            torchaudio.functional.forced_align(e[None], torch.tensor([t], dtype=torch.int32), blank=model.blank)
    peer_path_s, forced_s = best_of(runs, search)[0], best_of(runs, forced)[0]
    print(f"path: {path_s:.3f} s, whisperx {peer_path_s:.2f} s, forced_align {forced_s:.3f} s", flush=True)

    rows, first = [], 0
    for (_, _, g), segment in zip(parts, _by_segment(found, parts)):
        for i, (mine, its, truth) in enumerate(zip(ours[first:first + len(g)], segment, g)):
            rows.append((truth, mine, its, i == len(g) - 1))
        first += len(g)
    starts = np.array([abs(m.start_time - i["start"]) for _, m, i, _ in rows])
    ends = np.array([abs(m.end_time - i["end"]) for _, m, i, last in rows if not last])
    last_end = lambda end: np.mean([abs(end(r) - r[0][2]) for r in rows if r[3]]) * 1000
    ours_b = np.mean([abs(m.start_time - t[1]) for t, m, _, _ in rows] + [abs(m.end_time - t[2]) for t, m, _, _ in rows]) * 1000
    peer_b = np.mean([abs(i["start"] - t[1]) for t, _, i, _ in rows] + [abs(i["end"] - t[2]) for t, _, i, _ in rows]) * 1000
    apart = [{"word": t[0], "truth": t[1:], "ours": (m.start_time, m.end_time), "whisperx": (float(i["start"]), float(i["end"]))}
             for t, m, i, last in rows if abs(m.start_time - i["start"]) > 0.0205 or not last and abs(m.end_time - i["end"]) > 0.0205]
    details = {"ours_s": ours_s, "whisperx_s": peer_s, "path_s": path_s, "whisperx_path_s": peer_path_s, "words": len(rows),
               "segments": len(parts), "further_apart": apart}
    if args.quick:
        print(*apart, sep="\n")
    keep("alignment", {
        "path_ratio": round(peer_path_s / path_s, 1), "whole_ratio": round(peer_s / ours_s, 2),
        "within_20ms": round(float(np.mean(starts <= 0.0205)), 4), "ends_within_20ms": round(float(np.mean(ends <= 0.0205)), 4),
        "boundary_ms_ours": round(float(ours_b), 1), "boundary_ms_whisperx": round(float(peer_b), 1),
        "last_end_ms_ours": round(float(last_end(lambda r: r[1].end_time)), 1),
        "last_end_ms_whisperx": round(float(last_end(lambda r: r[2]["end"])), 1),
        "forced_align_s": round(forced_s, 3)}, args.quick, details)


def _by_segment(found, parts):
    "WhisperX cuts its answer into sentences: put its words back into the segments they came from"
    words = iter([w for s in found["segments"] for w in s["words"]])
    return [[next(words) for _ in g] for _, _, g in parts]


if __name__ == "__main__":
    main()
