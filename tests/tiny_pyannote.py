"""A pyannote pipeline in a folder, made here: the segmentation network that whisperx ships, and a voice of
plain statistics

`build(folder)` writes what `pyannote.audio.Pipeline.from_pretrained` reads: config.yaml,
segmentation/pytorch_model.bin, embedding/pytorch_model.bin. The embedding has nothing learnt in it. It tells
a few clean voices apart, no more: enough to run the real machinery without a download. The threshold is the
middle of those that find the three voices of the packaged sample (0.1 to 0.4).
"""
import os
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")

import numpy as np
import torch
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications
from torchaudio.transforms import MFCC

CONFIG = """\
dependencies: {{pyannote.audio: 4.0.0}}
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    segmentation: $model/segmentation
    embedding: $model/embedding
    plda: $model/plda
    embedding_exclude_overlap: true
    clustering: AgglomerativeClustering
    legacy: {legacy}
params:
  segmentation: {{threshold: 0.5, min_duration_off: 0.0}}
  clustering: {{method: average, min_cluster_size: 4, threshold: {threshold}}}
"""


class Cepstra(Model):
    "A voice as the mean of its cepstra: without the one that is loudness, the higher ones weighing more"
    N = 24

    def __init__(self, sample_rate=16000, num_channels=1, task=None):
        super().__init__(sample_rate=sample_rate, num_channels=num_channels, task=task)
        self.mfcc = MFCC(
            sample_rate,
            self.N + 1,
            melkwargs={"n_fft": 512, "hop_length": 160, "n_mels": 40, "center": False},
        )

    @property
    def dimension(self): return self.N

    def forward(self, waveforms, weights=None): # (voices, 1, samples), (voices, frames) -> (voices, 24)
        x = self.mfcc(waveforms[:, 0])[:, 1:]
        w = (
            torch.ones_like(x[:, :1])
            if weights is None
            else torch.nn.functional.interpolate(weights[:, None], x.shape[-1])
        )
        return (x * w).sum(-1) / w.sum(-1).clamp_min(1e-6) * torch.arange(1, self.N + 1, device=x.device)


def build(folder:Path, threshold=0.2, legacy=False)->Path:
    "Write the pipeline's files; gives the folder back"
    shipped = Path(find_spec("whisperx").origin).parent / "assets/pytorch_model.bin"
    for name in ("segmentation", "embedding", "plda"): (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG.format(threshold=threshold, legacy=str(legacy).lower()))
    (folder / "segmentation/pytorch_model.bin").symlink_to(shipped)
    about = {
        "versions": {"torch": torch.__version__, "pyannote.audio": "4.0.0"},
        "architecture": {"module": "tiny_pyannote", "class": "Cepstra"},
        "specifications": Specifications(Problem.REPRESENTATION, Resolution.CHUNK, duration=5.0, classes=[]),
    }
    model = Cepstra()
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": {}, "pyannote.audio": about,
                "pytorch-lightning_version": "2.0.0"}, folder / "embedding/pytorch_model.bin")
    n = model.dimension # read by every pipeline, used by VBx only: it changes nothing here
    np.savez(folder / "plda/xvec_transform.npz", mean1=np.zeros(n), mean2=np.zeros(n), lda=np.eye(n))
    np.savez(folder / "plda/plda.npz", mu=np.zeros(n), tr=np.eye(n), psi=np.ones(n))
    return folder
