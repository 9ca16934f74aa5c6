"""The engine's parts, one purpose a file; `tts_engine.TTSEngine` composes them. See README_STREAMING.md, "Components".

``scheduler``, ``admission``, ``slicer`` and ``cost`` are plain data structures: no threads, no clocks, no
tensors on a device. ``job``, ``events``, ``playback`` and ``channel`` are what threads share. ``stages`` are the four
stages, whose turns the threads repeat.
"""
