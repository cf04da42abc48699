"""The names of `research.evaluate` until they are imported from `references`, `error_rates` and `metrics`"""  # TEMP(rename)

from ecg_audio_nb.research.error_rates import (  # noqa: F401
    CHARACTER_LANGUAGES as UNSPACED,  # TEMP(rename)
)
from ecg_audio_nb.research.error_rates import TurnErrors, WordErrors, der, jer, normalize_text, wer  # noqa: F401
from ecg_audio_nb.research.metrics import Scores, evaluate, load_or_analyze  # noqa: F401
from ecg_audio_nb.research.references import (  # noqa: F401
    EvaluateError,
    Utterance,
    find_references,
    read_transcript,
    read_turns,
)
