"""Embedded recognition: word error on real and on synthetic speech.

    python benchmarks/recognition.py [--quick]

- `wer_sentences`: ten read sentences and one famous one (`../shared/data/sentences`), errors over all words;
- `wer_sample`: the packaged sample, end to end through `analyze`;
- `speed_sample`: how many times faster than real time the sample was analyzed (all stages, this machine);
- `wer_whole_files`: the peer, pocketsphinx as it comes, given each whole file of the sentences at once; `ratio` is
  ours to that.

Text is normalised as Whisper's papers do.
"""
import json
import time

import numpy as np
from _common import ROOT, keep, need_data, options

from ecg_audio_nb import analyze
from ecg_audio_nb.evaluate import evaluate, wer
from ecg_audio_nb.media import load_audio
from ecg_audio_nb.transcribe import EmbeddedTranscriber
from ecg_audio_nb.voice import listen


def sentences():
    "(name, audio, text)"
    folder = need_data("sentences")
    said = json.loads((folder / "transcripts.json").read_text())
    rows = said.items() if isinstance(said, dict) else ((row["file"], row["text"]) for row in said)
    for name, text in rows:
        yield name, load_audio(folder / f"{name.removesuffix('.flac')}.flac"), text if isinstance(text, str) else text["text"]


def as_it_comes(audio) -> str:
    "pocketsphinx with its defaults over the whole file"
    from pocketsphinx import Decoder
    decoder = Decoder(loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(np.clip(audio.samples * 32767, -32768, 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    return decoder.hyp().hypstr if decoder.hyp() else ""


def main():
    args = options(__doc__)
    rows = []
    for name, audio, text in sentences():
        heard = " ".join(w.word for w in EmbeddedTranscriber().transcribe(audio, listen(audio).speech, "en").words)
        peer = None if args.quick else as_it_comes(audio)
        rows.append({"name": name, "said": text, "heard": heard, "peer": peer})
        print(f"{name:12} {heard}", flush=True)
    ours = wer("\n".join(r["said"] for r in rows), "\n".join(r["heard"] for r in rows), "en").wer
    peer = None if args.quick else wer("\n".join(r["said"] for r in rows), "\n".join(r["peer"] for r in rows), "en").wer
    sample, start = ROOT / "ecg_audio_nb/assets/sample.mp4", time.perf_counter()
    result = analyze(sample, profile="demo")
    seconds = time.perf_counter() - start
    scores = evaluate(result, sample.with_suffix(".stm"), sample.with_suffix(".rttm"))
    keep("recognition", {
        "wer_sentences": round(ours, 3), "wer_sample": round(scores.wer, 3), "speed_sample": round(result.metadata.duration / seconds, 2),
        "seconds_sample": round(seconds, 1), "der_sample": round(100 * scores.der, 2), "speakers_sample": scores.speakers_found,
        "wer_whole_files": round(peer, 3) if peer is not None else None, "ratio": round(ours / peer, 3) if peer else None,
    }, args.quick, rows)


if __name__ == "__main__":
    main()
