"""Along which directions a telephone or a room moves a voice: writes `channels` of the packaged voice head

    python scripts/learn_channel_directions.py [--write]

Data: the development voices of benchmarks/_conversations.py (18 people, eleven languages; sources and
licences in
`../shared/data/real/SOURCES.md`), none of whom `benchmarks/diarization.py` tests on. Each stretch of up to 5
s of speech
is heard as it is, through a telephone and from two rooms; the first five right singular vectors of the
differences are
taken. With --write, `voice_head.npz`, `models.json` and NOTICE are changed.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from _conversations import RATE, development_voices, room, telephone, utterance  # noqa: E402

from ecg_audio_nb.speech import voice_encoder  # noqa: E402
from ecg_audio_nb.models import onnx_session  # noqa: E402
from ecg_audio_nb.speech.vad import peak_gain  # noqa: E402

FOLDER = ROOT / "ecg_audio_nb/assets/models"
DIRECTIONS, LONGEST, SHORTEST = 5, 5 * RATE, 2 * RATE  # samples of a stretch


def voice(samples, head, session):
    "The direction of a voice before any is taken out"
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    frames = voice_encoder.trunk_frames(samples, session, gain=peak_gain(samples))
    return head(frames.mean(0), frames.std(0, ddof=1))


def differences(head, session):
    "What a channel adds to a voice, shape (n, 192)"
    found = []
    for paths in development_voices().values():
        for path in paths[:4]:
            y, spans = utterance(path)
            said = np.concatenate([y[int(s * RATE) : int(e * RATE)] for s, e in spans] or [y[:0]])
            for part in [said[i : i + LONGEST] for i in range(0, min(len(said), 4 * LONGEST), LONGEST)]:
                if len(part) < SHORTEST:
                    continue
                random = np.random.default_rng(len(found))
                far = room(random)(part) + random.normal(0, 1.5e-3, len(part))
                plain = voice(part, head, session)
                found += [voice(x, head, session) - plain for x in (telephone(part), room(random)(part), far)]
    return np.array(found)


def main():
    with np.load(FOLDER / "voice_head.npz") as f:
        stored = dict(f)
    head = voice_encoder.Head(stored["weight"], stored["bias"], np.zeros((0, 192), np.float32))
    moved = differences(head, onnx_session("voice_encoder"))
    _, size, directions = np.linalg.svd(moved, full_matrices=False)
    share = np.cumsum(size**2) / np.sum(size**2)
    alike = np.linalg.svd(directions[:DIRECTIONS] @ stored["channels"].T)[1]
    print(f"{len(moved)} differences; {DIRECTIONS} directions hold {share[DIRECTIONS - 1]:.0%} of them")
    print(f"cosines with the packaged ones: {np.round(alike, 3).tolist()}")
    if "--write" not in sys.argv:
        return
    target, before = FOLDER / "voice_head.npz", (FOLDER / "voice_head.npz").read_bytes()
    np.savez(target, **stored | {"channels": directions[:DIRECTIONS].astype(np.float32)})
    old, new = (hashlib.sha256(x).hexdigest() for x in (before, target.read_bytes()))
    for name in ("models.json", "NOTICE"):
        (FOLDER / name).write_text(
            (FOLDER / name).read_text(encoding="utf-8").replace(old, new), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
