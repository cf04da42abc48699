"""The names of `research.scores` until they are imported from `references`, `error_rates` and `metrics`"""  # TEMP(rename)

from ecg_audio_nb.research.error_rates import Boundaries, Edit, boundaries, cer, cp_wer, edits, f0_gross_error  # noqa: F401
from ecg_audio_nb.research.metrics import (  # noqa: F401
    Aggregate,
    Difference,
    FileScores,
    aggregate,
    format_score,
    score_file,
    score_folder,
    score_report,
)
from ecg_audio_nb.research.metrics import compare_scores as compare  # noqa: F401 # TEMP(rename)
from ecg_audio_nb.research.references import read_words  # noqa: F401
