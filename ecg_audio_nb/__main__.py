"""`python -m ecg_audio_nb` is `ecg`"""
from ecg_audio_nb.cli import main

main()
