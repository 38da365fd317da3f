"""How serve_app/assets/diarization-demo was made, on a CPU; the order in which to run them.

apt-get install espeak-ng flite
python -m benchmarks.embedded_models.diarization.voices FOLDER
python -m benchmarks.embedded_models.diarization.train_segmentation FOLDER --limit-s 2640
python -m benchmarks.embedded_models.diarization.train_embedding FOLDER --limit-s 1440
python -m benchmarks.embedded_models.diarization.package FOLDER OUT
"""
