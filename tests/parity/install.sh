#!/bin/sh
# Makes a virtual environment with the official packages beside ours. torch comes first and in its CPU build;
# f5-tts comes without its trainer's dependencies.
set -eu
venv=$1
"${PYTHON:-python3}" -m venv "$venv"
pip="$venv/bin/python -m pip install --quiet"
$pip torch==2.13.0
$pip --no-deps f5-tts==1.1.22 vocos==0.1.0 bigvgan==2.4.1 torchaudio==2.11.0 x-transformers==2.31.10 torch-einops-utils==0.2.0
$pip --no-deps torchdiffeq==0.2.5 ema-pytorch==0.8.3 encodec==0.1.1
$pip einops einx loguru librosa matplotlib pydub omegaconf transformers cached-path tomli
$pip --requirement requirements.txt
# torchaudio has no CPU build; what is used of it works without its compiled parts.
find "$venv" -path '*torchaudio*' -name '*.so' -delete
