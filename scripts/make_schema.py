"""Write the JSON Schema of a result into the package: python scripts/make_schema.py"""

import json
from pathlib import Path

from ecg_audio_nb.schema import json_schema

path = Path(__file__).parents[1] / "ecg_audio_nb/assets/result.schema.json"
path.write_text(json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n")
