"""`python -m ecg_audio_nb` is the `ecg` command"""

from ecg_audio_nb.cli import main

main()
