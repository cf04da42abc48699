"""What speaks for a speaker, weighed: learns `CONFIDENCE_WEIGHTS` of nbs/15_diarize.ipynb

    python scripts/learn_speaker_confidence.py

Data: 54 conversations of the development voices of benchmarks/_conversations.py (18 people, none of whom
`benchmarks/diarization.py` tests on): 1 to 8 voices, clean, by telephone or in a room, with the number of
speakers that
the packaged diarizer finds, right or wrong. Speech is cut into spans of 0.35 s, about a word; a span is right
where its
speaker, mapped to the one of the truth with whom it shares most time, talks. A logistic regression over the
mean
evidence of each span gives the weights. How well they hold is shown for files left out, a ninth at a time;
the product
uses the weights of all, rounded to two digits.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from _conversations import conversation, development_voices  # noqa: E402
from diarization import judged, words_in  # noqa: E402

from ecg_audio_nb.speech.diarize import CONFIDENCE_WEIGHTS, assign_frames  # noqa: E402
from ecg_audio_nb.speech.speaker_embeddings import extract_embeddings  # noqa: E402
from ecg_audio_nb.speech.vad import FRAME_START, FRAME_STEP, detect_speech, true_runs  # noqa: E402

CHANNELS = ("clean", "telephone", "room")


def conversations():
    bank = development_voices()
    for i in range(36):
        yield conversation(7000 + i, bank, 1 + i % 5, 30 + 5 * (i % 13), CHANNELS[i % 3])
    for i in range(18):
        yield conversation(7100 + i, bank, 1 + i % 8, 0, CHANNELS[i % 3], turn=(0.8, 6.0), once=True)


def evidence_of(audio, turns):
    "Mean evidence of each span of about a word, (n, features), and whether its speaker is right, (n,)"
    activity = detect_speech(audio)
    talks, seen = assign_frames(extract_embeddings(audio, activity), activity)
    if seen is None:
        return np.zeros((0, len(CONFIDENCE_WEIGHTS))), np.zeros(0)
    table = np.stack([seen[name] for name in CONFIDENCE_WEIGHTS], 2)  # (frames, speakers, features)
    stretches = [(s, e, who) for who in range(talks.shape[1]) for s, e in true_runs(talks[:, who])]
    spans = words_in(
        (s * FRAME_STEP + FRAME_START, e * FRAME_STEP + FRAME_START, who) for s, e, who in stretches
    )
    rows, right = [], []
    for (start, end, who), answer in zip(spans, judged(spans, turns), strict=True):
        if answer is not None:
            a, b = (round((t - FRAME_START) / FRAME_STEP) for t in (start, end))
            rows.append(table[a : max(b, a + 1), who].mean(0))
            right.append(answer)
    return np.array(rows), np.array(right, float)


def fitted(evidence, right):
    "Weights of a logistic regression; evidence (n, features), right (n,)"

    def loss(weights):
        odds = evidence @ weights
        sure = 1 / (1 + np.exp(-odds))
        slope = evidence.T @ (sure - right) / len(right) + 1e-5 * weights
        return np.mean(np.logaddexp(0, odds) - right * odds) + 5e-6 * np.square(weights).sum(), slope

    return minimize(loss, np.zeros(evidence.shape[1]), jac=True, method="L-BFGS-B").x


def main():
    found = []
    for i, (audio, turns) in enumerate(conversations()):
        evidence, right = evidence_of(audio, turns)
        found.append((evidence, right, np.full(len(right), i)))
        print(f"\rconversation {i + 1}", end="", file=sys.stderr, flush=True)
    evidence, right, file = (np.concatenate(x) for x in zip(*found, strict=True))
    sure = np.zeros(len(right))
    for fold in range(9):
        out = file % 9 == fold
        sure[out] = 1 / (1 + np.exp(-evidence[out] @ fitted(evidence[~out], right[~out])))
    print(f"\n{len(right)} spans of about a word, {right.mean():.1%} right; of files left out:")
    for low, high in ((0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.01)):
        some = (sure >= low) & (sure < high)
        if some.any():
            said, true = sure[some].mean(), right[some].mean()
            print(
                (
                    f"  {low:.2f} to {min(high, 1):.2f}: {some.mean():6.1%} of the spans, said {said:.3f}, "
                    f"right {true:.3f}"
                )
            )
    print(
        "CONFIDENCE_WEIGHTS =",
        dict(zip(CONFIDENCE_WEIGHTS, np.round(fitted(evidence, right), 2).tolist(), strict=True)),
    )


if __name__ == "__main__":
    main()
